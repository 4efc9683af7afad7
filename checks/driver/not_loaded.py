"""An NVIDIA GPU is in the machine, but no NVIDIA kernel module is loaded.

## Why it matters
Nothing can use the GPU: `nvidia-smi` says "couldn't communicate with the NVIDIA driver" (NVML code 9) and engines fall
back to the CPU. The finding names the first cause that holds: nouveau has the GPU, Secure Boot refuses the module,
there is no module for this kernel, it is blacklisted, it is there but not loaded, or no driver is installed.
A device node `/dev/nvidiactl` proves nothing: the library creates it by itself when root calls it.

## How to fix
Follow the step of the cause that is named. A driver that was never installed: install it with the distribution's
packages, with the headers of the running kernel, then reboot.

## References
- https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/index.html
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html
- https://github.com/NVIDIA/open-gpu-kernel-modules
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, Target, check, failed, known, need, noted, passed, saw, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.judging.presence import answering, closed_gate, need_nvidia, need_own_system
from gpudoctor.judging.remedies import install_driver, reboot
from gpudoctor.matrices import gpus as gpu_table

SOURCE = "/sys/module/nvidia, /proc/driver/nvidia/version"


@check(gatekeeper_of="driver")
def not_loaded(
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    gpus: Gpus | Unavailable,
    host: Host | Unavailable,
    kernel_log: KernelLog | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Say whether the module is loaded; if not, name the first true cause."""
    if isinstance(pci, Pci):
        need_nvidia(pci)
    if isinstance(driver, Unavailable):
        yield closed_gate("the driver", driver)
        return
    devices = need_nvidia(pci)
    if answering(gpus) and known(driver.loaded_version) is None:
        # Sandboxes (gVisor) hand on the driver without its traces in /sys and /proc.
        yield passed("host", "{n} GPUs answer through NVML", n=len(answering(gpus)),
                     evidence=saw("GPUs that answer", len(answering(gpus)), "NVML"))
        return
    loaded = need(driver.loaded_version)
    if loaded is not None:
        yield passed("host", "NVIDIA driver {version} is loaded", version=loaded,
                     evidence=(saw("loaded version", loaded, SOURCE),
                               saw("kernel modules", known(driver.loaded_flavour), "/proc/driver/nvidia/version")))
        return
    need_own_system(host)
    yield _because(driver, devices, host, kernel_log, target)


def _because(
    driver: Driver,
    devices: tuple[PciDevice, ...],
    host: Host | Unavailable,
    kernel_log: KernelLog | Unavailable,
    target: Target,
) -> Finding:
    running = known(host.kernel_release) if isinstance(host, Host) else None
    modules = known(driver.modules) or ()
    here = [m for m in modules if m.kernel == running] if running else list(modules)
    sources = {f"DKMS source {build.version}" for build in driver.dkms}
    elsewhere = tuple(sorted({f"one for {m.kernel}" for m in modules if m.kernel != running} or sources))
    refused = kernel_log.of("module-rejected") if isinstance(kernel_log, KernelLog) else ()
    enforced = known(driver.secure_boot) == "on" or driver.lockdown in ("integrity", "confidentiality")
    listed = tuple(f"{d.address} ({d.vendor}:{d.device})" for d in devices)
    seen = (
        saw("NVIDIA GPUs", listed, "/sys/bus/pci/devices"),
        saw("loaded version", None, SOURCE),
        saw("module files for this kernel", tuple(m.path for m in here), "/lib/modules"),
    )
    if any(d.driver == "nouveau" for d in devices):
        if target.installing and not modules:
            return noted("host", "no NVIDIA driver is installed yet; nouveau holds the GPU", evidence=seen,
                         fix=_install(host, devices))
        return failed("host", "no NVIDIA module is loaded: nouveau holds the GPU", evidence=seen,
                      fix=step("Take the GPU from nouveau, as driver.nouveau-bound says."))
    if here and enforced and refused:
        return failed("host", "no NVIDIA module is loaded: Secure Boot refused {path}", path=here[0].path,
                      evidence=(*seen, saw("kernel log", refused[-1].text, "kernel log")),
                      fix=step("Sign the module or enrol its key, as driver.blocked-by-secure-boot says."))
    if here:
        barred = "nvidia" in driver.blacklisted
        return failed(
            "host",
            "no NVIDIA module is loaded, though {path} is there (blacklisted: {barred})",
            path=here[0].path, barred=barred,
            evidence=(*seen, saw("blacklisted modules", driver.blacklisted, "modprobe.d")),
            fix=(
                step("Take the line that blacklists nvidia out of modprobe's configuration.",
                     "grep -rnE '(blacklist|install) +nvidia' /etc/modprobe.d /usr/lib/modprobe.d /run/modprobe.d")
                if barred else step("Load it; if that fails, the kernel log says why.",
                                    "sudo modprobe nvidia; sudo dmesg | grep -iE 'nvrm|nvidia' | tail -n 20"),
                reboot(host),
            ),
        )
    if elsewhere and isinstance(driver.modules, tuple):
        return failed("host", "no NVIDIA module is loaded: there is none for the running kernel {kernel}, "
                      "only {others}", kernel=running, others=elsewhere, evidence=seen,
                      fix=step("Build it for this kernel, as driver.missing-for-next-kernel says."))
    if isinstance(driver.modules, Unavailable):
        return failed("host", "no NVIDIA module is loaded; whether one is installed could not be read: {reason}",
                      reason=driver.modules.reason, evidence=seen, fix=_install(host, devices))
    if target.installing:
        return noted("host", "no NVIDIA driver is installed yet", evidence=seen, fix=_install(host, devices))
    return failed("host", "{n} NVIDIA GPUs, but no NVIDIA driver is installed", n=len(devices), evidence=seen,
                  fix=_install(host, devices))


def _install(host: Host | Unavailable, devices: tuple[PciDevice, ...]) -> tuple[Step, ...]:
    rows = [row for d in devices for row in gpu_table.by_pci_id(d.vendor, d.device)]
    last = min((row.max_driver_branch for row in rows if row.max_driver_branch), default=None)
    closed = any(row.open_kernel_modules == "unsupported" for row in rows)
    return (*install_driver(host, open_modules=not closed, branch=last), reboot(host))
