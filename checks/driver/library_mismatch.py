"""The loaded kernel module, the module on disk and the library of the driver are not of one version.

## Why it matters
Module and library must be of the same version to the last digit. An automatic upgrade that replaces the files under a
running module ends in "Driver/library version mismatch" (NVML code 18): running servers go on, nothing new can start.
When only the file on disk differs, the upgrade waits for a reboot, and a reload of the module would break things early.
In a container the library comes from the host, and must be of the host's version: an old CDI specification brings
the old one.

## How to fix
Reboot; or stop every user of the GPUs, unload the modules and load the new ones. Then hold the driver's packages.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html
- https://github.com/NVIDIA/nvidia-container-toolkit/issues/179
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, check, failed, need, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver, ModuleFile
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import need_nvidia
from gpudoctor.judging.remedies import reboot

_MISMATCH = 18


@check()
def library_mismatch(
    driver: Driver,
    module_file: ModuleFile | Unavailable,
    gpus: Gpus | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
) -> Iterator[Finding]:
    """Compare three versions; NVML that works proves that the copy in use fits."""
    need_nvidia(pci)
    loaded = need(driver.loaded_version)
    if loaded is None:
        yield skipped("host", "no NVIDIA module is loaded to compare with")
        return
    container = host.container if isinstance(host, Host) else None
    info = module_file.info if isinstance(module_file, ModuleFile) and container is None else None
    works = isinstance(gpus, Gpus) and gpus.error_code is None
    told_18 = isinstance(gpus, Gpus) and gpus.error_code == _MISMATCH
    copies = [] if isinstance(driver.libraries, Unavailable) else [
        lib for lib in driver.library("libnvidia-ml.so.1") if not lib.stub]
    used = loaded if works else next((lib.version for lib in copies), None)
    disk = info.version if info is not None and info.version else None
    seen = (
        saw("loaded module", loaded, "/sys/module/nvidia/version"),
        saw("library", used, copies[0].real_path if copies else "loader cache"),
        saw("module on disk", disk, info.path if info is not None else "modinfo"),
    )
    if told_18 or (used is not None and used != loaded):
        if container is not None:
            yield failed("host", "this container's driver library is {library}, the host's module {loaded}",
                         library=used, loaded=loaded, evidence=seen,
                         fix=(step("On the host, write the CDI specification anew.",
                                   "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"),
                              step("Recreate the container.")))
            return
        yield failed("host", "the loaded module is {loaded}, the library {library}, the module on disk {disk}",
                     loaded=loaded, library=used, disk=disk, evidence=seen,
                     fix=(reboot(host), *_reload()))
    elif disk is not None and disk != loaded:
        yield warned("host", "the module on disk is {disk} while {loaded} is loaded: an upgrade waits for a reboot",
                     disk=disk, loaded=loaded, evidence=seen, fix=reboot(host))
    elif used is None:
        if isinstance(driver.libraries, Unavailable):
            yield unknown("host", "the driver's library could not be looked for: {reason}",
                          reason=driver.libraries.reason, evidence=seen)
        elif copies:
            yield unknown("host", "{path} does not carry a version in its name", path=copies[0].real_path,
                          evidence=seen)
        else:
            yield skipped("host", "the driver's library is nowhere the loader looks; driver.nvml-unusable says so",
                          evidence=seen)
    else:
        yield passed("host", "module and library are both {loaded}", loaded=loaded, evidence=seen)


def _reload() -> tuple[Step, ...]:
    return (
        step(
            "Or, without a reboot: stop everything that uses the GPUs, then load the new modules.",
            "sudo systemctl stop nvidia-persistenced; sudo modprobe -r nvidia_drm nvidia_modeset nvidia_uvm nvidia && "
            "sudo modprobe nvidia",
            risk="ends every program on the GPUs",
        ),
    )
