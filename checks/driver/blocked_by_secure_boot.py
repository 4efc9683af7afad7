"""Secure Boot refuses the NVIDIA kernel module, or will refuse it once it is built.

## Why it matters
With Secure Boot on, the kernel loads only modules that are signed with a key it knows. A module that was built on this
machine (DKMS, akmods, NVIDIA's installer) is signed with a key of its own at best, and that key must be enrolled at
the machine's console, during a reboot. Until then the GPU stays without driver, and only the kernel log says why.

## How to fix
Either install the distribution's prebuilt, signed modules, or enrol the key with `mokutil --import` and confirm it at
the console of the next boot. Plan for it before installing a driver on a machine without remote console.

## References
- https://www.kernel.org/doc/html/latest/admin-guide/module-signing.html
- https://wiki.ubuntu.com/UEFI/SecureBoot
- https://wiki.debian.org/SecureBoot
- https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, check, failed, known, need, passed, saw, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver, ModuleFile
from gpudoctor.facts.host import Host
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import need_nvidia, need_own_system
from gpudoctor.judging.remedies import fitting, reboot

SOURCE = "/sys/firmware/efi/efivars/SecureBoot-*"


@check()
def blocked_by_secure_boot(
    driver: Driver,
    pci: Pci | Unavailable,
    module_file: ModuleFile | Unavailable,
    kernel_log: KernelLog | Unavailable,
    host: Host | Unavailable,
) -> Iterator[Finding]:
    """Fail when the module was refused or is unsigned; warn before a driver is installed."""
    need_nvidia(pci)
    need_own_system(host)
    state = need(driver.secure_boot)
    locked = driver.lockdown in ("integrity", "confidentiality")
    info = module_file.info if isinstance(module_file, ModuleFile) else None
    refused = kernel_log.of("module-rejected") if isinstance(kernel_log, KernelLog) else ()
    seen = (
        saw("Secure Boot", state, SOURCE),
        saw("kernel lockdown", driver.lockdown, "/sys/kernel/security/lockdown"),
        *((saw("signer of the module file", info.signer or "unsigned", info.path),) if info else ()),
    )
    if known(driver.loaded_version) is not None:
        yield passed("host", "the NVIDIA module is loaded (Secure Boot: {state})", state=state, evidence=seen)
    elif state != "on" and not locked:
        yield passed("host", "Secure Boot does not restrict modules here ({state})", state=state, evidence=seen)
    elif info is None and not known(driver.modules):
        yield warned("host", "Secure Boot is on, and no NVIDIA driver is installed yet: a module that is built here "
                     "must be signed with an enrolled key", evidence=seen, fix=_signed(host))
    elif refused:
        yield failed("host", "Secure Boot refused a kernel module, and NVIDIA's is not loaded",
                     evidence=(*seen, saw("kernel log", refused[-1].text, "kernel log")), fix=_signed(host))
    elif info is not None and not info.signer:
        yield failed("host", "Secure Boot is on and {path} is unsigned", path=info.path, evidence=seen,
                     fix=_signed(host))
    else:
        yield warned("host", "Secure Boot is on and the NVIDIA module is not loaded: the key that signed it may not be "
                     "enrolled", evidence=seen, fix=_signed(host))


def _signed(host: Host | Unavailable) -> tuple[Step, ...]:
    console = "asks for a password at the machine's console during the next boot"
    dkms_key = step("Enrol the key with which DKMS signs modules here.",
                    "sudo mokutil --import /var/lib/dkms/mok.pub", risk=console)
    return (
        *fitting(
            host,
            debian=(
                step("On Ubuntu, take the prebuilt modules, which are signed.",
                     "sudo ubuntu-drivers install --gpgpu", risk="changes the kernel modules; needs a reboot"),
                step("Or enrol the key with which this machine signs what it builds.",
                     "sudo mokutil --import /var/lib/shim-signed/mok/MOK.der", risk=console),
            )
            if isinstance(host, Host) and host.os_id == "ubuntu"
            else dkms_key,
            rhel=dkms_key,
            nixos=step("Sign modules through lanzaboote, or turn Secure Boot off in the firmware."),
            other=step("Sign the module with a key, and enrol that key with mokutil.", risk=console),
        ),
        reboot(host),
    )
