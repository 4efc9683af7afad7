"""This driver release does not know this GPU, or no longer supports it.

## Why it matters
Each driver branch supports a range of GPUs. Branch 580 is the last for Maxwell, Pascal and Volta; a GPU that is newer
than the driver is not known to it either. The module then loads and leaves the GPU alone: NVML lists fewer GPUs than
the bus, or none, and the reason stands in the kernel log only.

## How to fix
Install the branch that supports the GPU: the last one before support was dropped, or a newer one for a new GPU.

## References
- https://docs.nvidia.com/datacenter/tesla/drivers/index.html
- https://github.com/NVIDIA/open-gpu-kernel-modules
- https://www.nvidia.com/en-us/drivers/unix/legacy-gpu/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, known, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver, ModuleFile
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.judging.presence import answering, is_at, need_nvidia
from gpudoctor.judging.remedies import install_driver, reboot
from gpudoctor.matrices import cuda_driver
from gpudoctor.matrices import gpus as gpu_table
from gpudoctor.matrices.versions import at_least


@check()
def gpu_unsupported(
    driver: Driver,
    pci: Pci | Unavailable,
    module_file: ModuleFile | Unavailable,
    gpus: Gpus | Unavailable,
    kernel_log: KernelLog | Unavailable,
    host: Host | Unavailable,
) -> Iterator[Finding]:
    """Judge by the kernel log first, then by the GPU table; a GPU that answers is never accused."""
    devices = need_nvidia(pci)
    info = module_file.info if isinstance(module_file, ModuleFile) else None
    version = known(driver.loaded_version) or (info.version if info else None)
    last = {d.address: _last_branch(d) for d in devices}
    limit = min((b for b in last.values() if b is not None), default=None)
    if version is None:
        if limit is None:
            yield skipped("host", "no driver is installed to compare with")
        else:
            yield noted("host", "driver branch {branch} is the last for {gpus}: install no newer one", branch=limit,
                        gpus=tuple(_name(d) for d in devices if last[d.address] == limit),
                        evidence=saw("last branch", limit, "GPU table"))
        return
    works = answering(gpus)
    silent = [d for d in devices if d.address not in works]
    log = kernel_log.of("gpu-unsupported") if isinstance(kernel_log, KernelLog) else ()
    told = [e for e in log if "open kernel modules" not in " ".join(e.text.lower().split())
            and (is_at(e.address, silent) or (e.address is None and silent))]
    branch = cuda_driver.branch_of(version)
    dropped = [d for d in silent if branch is not None and (last[d.address] or branch) < branch]
    young = [d for d in silent if _too_young(d, version)]
    seen = (
        saw("driver", version, "/sys/module/nvidia/version, modinfo"),
        saw("GPUs that answer", f"{len(works)} of {len(devices)}", "NVML"),
        *(saw("kernel log", e.text, "kernel log") for e in told[:2]),
    )
    if dropped or told:
        accused = dropped or [d for d in silent if any(e.address is None or is_at(e.address, (d,)) for e in told)]
        yield failed(
            "host",
            "driver {version} does not support {gpus}",
            version=version, gpus=tuple(f"{_name(d)} at {d.address}" for d in accused), evidence=seen,
            fix=(*install_driver(host, open_modules=False, branch=limit), reboot(host)) if limit is not None
            else step("Install a driver branch that lists this GPU (https://www.nvidia.com/drivers)."),
        )
    elif young:
        yield warned(
            "host",
            "{gpus} may be newer than driver {version}: it first appears in {first}",
            gpus=tuple(_name(d) for d in young), version=version, evidence=seen,
            first=max((r.min_driver for d in young for r in _rows(d) if r.min_driver), default=None),
            fix=(*install_driver(host), reboot(host)),
        )
    else:
        yield passed("host", "driver {version} supports these GPUs, as far as the log and the GPU table say",
                     version=version, evidence=seen)


def _rows(device: PciDevice) -> tuple[gpu_table.NvidiaGpu, ...]:
    return gpu_table.by_pci_id(device.vendor, device.device)


def _name(device: PciDevice) -> str:
    return next((row.name for row in _rows(device)), "GPU")


def _last_branch(device: PciDevice) -> int | None:
    """Return the last branch for it; None when any product of this id is still supported, or none is known."""
    branches = [row.max_driver_branch for row in _rows(device)]
    found = [b for b in branches if b is not None]
    return max(found) if found and len(found) == len(branches) else None


def _too_young(device: PciDevice, version: str) -> bool:
    rows = _rows(device)
    try:
        return bool(rows) and all(row.min_driver and not at_least(version, row.min_driver) for row in rows)
    except ValueError:
        return False
