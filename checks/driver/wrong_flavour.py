"""The loaded kernel modules are of the flavour that this GPU cannot use.

## Why it matters
NVIDIA ships two sets of kernel modules. Blackwell and the Grace platforms work with the open modules only; Maxwell,
Pascal and Volta with the proprietary ones only; Turing to Hopper with either. With the wrong set the driver loads,
finds no GPU it knows, and `nvidia-smi` says "No devices were found".

## How to fix
Install the package of the other flavour, of the same branch, and reboot.

## References
- https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/kernel-modules.html
- https://github.com/NVIDIA/open-gpu-kernel-modules
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, known, passed, saw, skipped, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver, Flavour, ModuleFile
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.judging.presence import answering, is_at, need_nvidia
from gpudoctor.judging.remedies import install_driver, reboot
from gpudoctor.matrices import cuda_driver
from gpudoctor.matrices import gpus as gpu_table


@check()
def wrong_flavour(
    driver: Driver,
    pci: Pci | Unavailable,
    module_file: ModuleFile | Unavailable,
    gpus: Gpus | Unavailable,
    kernel_log: KernelLog | Unavailable,
    host: Host | Unavailable,
) -> Iterator[Finding]:
    """Compare the flavour with what the GPU table asks for; a GPU that answers is never accused."""
    devices = need_nvidia(pci)
    flavour = known(driver.loaded_flavour) or _of_file(module_file)
    if flavour is None:
        yield skipped("host", "no NVIDIA module to judge")
        return
    works = answering(gpus)
    log = kernel_log.of("gpu-unsupported") if isinstance(kernel_log, KernelLog) else ()
    told = [e for e in log if "open kernel modules" in " ".join(e.text.lower().split())]
    needs = {d.address: _needs(d) for d in devices}
    version = known(driver.loaded_version) or _version_of_file(module_file)
    wrong = [
        d for d in devices
        if d.address not in works and not _dropped(d, version)
        and (needs[d.address] not in (None, "either", flavour)
             or (flavour == "proprietary" and any(e.address is None or is_at(e.address, (d,)) for e in told)))
    ]
    seen = (
        saw("kernel modules", flavour, "/proc/driver/nvidia/version, modinfo"),
        saw("flavour needed", tuple(f"{d.address} {needs[d.address] or 'not known'}" for d in devices), "GPU table"),
    )
    if wrong:
        # Another GPU of the machine may need the other flavour; what the kernel or the table says of this one counts.
        wanted: Flavour = "open" if flavour == "proprietary" else "proprietary"
        last = min((r.max_driver_branch for d in wrong for r in _rows(d) if r.max_driver_branch), default=None)
        yield failed(
            "host",
            "the {flavour} kernel modules are installed; {gpus} needs the {wanted} ones",
            flavour=flavour, wanted=wanted, gpus=tuple(f"{_name(d)} at {d.address}" for d in wrong),
            evidence=(*seen, *(saw("kernel log", e.text, "kernel log") for e in told[:2])),
            fix=(*install_driver(host, open_modules=wanted == "open", branch=None if wanted == "open" else last),
                 reboot(host)),
        )
    elif all(d.address in works or needs[d.address] is not None for d in devices):
        yield passed("host", "the {flavour} kernel modules fit these GPUs", flavour=flavour, evidence=seen)
    else:
        yield unknown("host", "the GPU table does not know which kernel modules {gpus} needs",
                      gpus=tuple(f"{d.vendor}:{d.device}" for d in devices if needs[d.address] is None), evidence=seen)


def _of_file(module_file: ModuleFile | Unavailable) -> Flavour | None:
    info = module_file.info if isinstance(module_file, ModuleFile) else None
    if info is None or not info.license:
        return None
    return "proprietary" if info.license.strip().upper() == "NVIDIA" else "open"


def _version_of_file(module_file: ModuleFile | Unavailable) -> str | None:
    info = module_file.info if isinstance(module_file, ModuleFile) else None
    return info.version or None if info is not None else None


def _dropped(device: PciDevice, version: str | None) -> bool:
    """Tell whether the branch no longer supports the GPU in any flavour: then driver.gpu-unsupported speaks."""
    branch = cuda_driver.branch_of(version) if version else None
    last = [row.max_driver_branch for row in _rows(device)]
    return branch is not None and bool(last) and all(limit is not None and limit < branch for limit in last)


def _rows(device: PciDevice) -> tuple[gpu_table.NvidiaGpu, ...]:
    return gpu_table.by_pci_id(device.vendor, device.device)


def _name(device: PciDevice) -> str:
    return next((row.name for row in _rows(device)), "GPU")


def _needs(device: PciDevice) -> str | None:
    """Return ``open``, ``proprietary`` or ``either``; None when the table does not know, or products differ."""
    said = {row.open_kernel_modules for row in _rows(device)}
    if len(said) != 1:
        return None
    return {"required": "open", "unsupported": "proprietary", "supported": "either"}[said.pop()]
