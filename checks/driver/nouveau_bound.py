"""The nouveau driver holds the GPU, or is loaded beside NVIDIA's.

## Why it matters
Only one driver can hold a GPU. While nouveau has it, NVIDIA's module does not load ("no NVIDIA devices probed"), and
the installer of NVIDIA's driver refuses to go on. Nouveau offers no CUDA.

## How to fix
Blacklist nouveau, write the early boot image anew, since it loads modules too, and reboot.

## References
- https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/index.html
- https://github.com/NVIDIA/DCGM
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, check, failed, known, passed, saw, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import need_nvidia
from gpudoctor.judging.remedies import fitting, reboot, rebuild_initramfs


@check()
def nouveau_bound(driver: Driver, pci: Pci | Unavailable, host: Host | Unavailable) -> Iterator[Finding]:
    """Judge by the link from each GPU to its driver; the list of loaded modules only adds to it."""
    devices = need_nvidia(pci)
    held = tuple(d.address for d in devices if d.driver == "nouveau")
    loaded = known(driver.nouveau_loaded)
    seen = (
        saw("drivers of the GPUs", tuple(f"{d.address} {d.driver or 'none'}" for d in devices),
            "/sys/bus/pci/devices/*/driver"),
        saw("nouveau is loaded", loaded, "/sys/module, /proc/modules"),
    )
    if held:
        yield failed("host", "nouveau holds {held}", held=held, evidence=seen, fix=_keep_out(host, driver))
    elif loaded:
        yield warned("host", "nouveau is loaded, though it holds no GPU", evidence=seen, fix=_keep_out(host, driver))
    elif loaded is None and any(d.driver is None for d in devices) and isinstance(driver.nouveau_loaded, Unavailable):
        yield unknown("host", "a GPU has no driver, and whether nouveau is loaded cannot be seen: {reason}",
                      reason=driver.nouveau_loaded.reason, evidence=seen)
    else:
        yield passed("host", "nouveau holds no NVIDIA GPU", evidence=seen)


def _keep_out(host: Host | Unavailable, driver: Driver) -> tuple[Step, ...]:
    forbid = fitting(
        host,
        nixos=step('Add "nouveau" to boot.blacklistedKernelModules.'),
        other=step(
            "Forbid nouveau.",
            r"printf 'blacklist nouveau\noptions nouveau modeset=0\n' "
            "| sudo tee /etc/modprobe.d/blacklist-nouveau.conf",
        ),
    )
    return (*(() if "nouveau" in driver.blacklisted else forbid), *rebuild_initramfs(host), reboot(host))
