"""The NVIDIA module is not built for the running kernel, or not for the one that boots next.

## Why it matters
Kernel modules belong to one kernel. When a new kernel arrives without its headers, DKMS builds nothing and says so only
in its log; the server runs on for weeks, and the GPU is gone after the next reboot, planned or not.

## How to fix
Install the headers of that kernel and build the module for it (`dkms autoinstall -k KERNEL`), or install the
distribution's prebuilt module package of that kernel, before the next reboot.

## References
- https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/index.html
- https://github.com/dkms-project/dkms
"""

from collections.abc import Iterator

from gpudoctor.checking import (
    Evidence,
    Finding,
    Step,
    check,
    failed,
    known,
    need,
    passed,
    saw,
    skipped,
    step,
    unknown,
    warned,
)
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver, Kernel, ModuleFile
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import closed_gate, need_nvidia, need_own_system
from gpudoctor.judging.remedies import family, fitting


@check(gatekeeper_of="module_file")
def missing_for_next_kernel(
    driver: Driver | Unavailable,
    module_file: ModuleFile | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
) -> Iterator[Finding]:
    """Look for a module file for the running kernel, then for the newest one installed."""
    need_nvidia(pci)
    need_own_system(host)
    if isinstance(module_file, Unavailable):
        yield closed_gate("the module file", module_file)
    driver = need(driver)
    modules = need(driver.modules)
    kernels = known(driver.kernels) or ()
    running = _running(host, kernels)
    loaded = known(driver.loaded_version) is not None
    named = module_file.info if isinstance(module_file, ModuleFile) else None
    built = {m.kernel for m in modules} | ({running} if named is not None and running else set())
    seen = (
        saw("kernels with an NVIDIA module", tuple(sorted(k for k in built if k)), "/lib/modules"),
        saw("running kernel", running, "/proc/sys/kernel/osrelease"),
        saw("installed kernels", tuple(k.release for k in kernels), "/boot, /lib/modules"),
        saw("DKMS", tuple(f"{b.version} for {b.kernel or 'no kernel'}" for b in driver.dkms), "/var/lib/dkms"),
    )
    if family(host) == "nixos":
        yield skipped("host", "NixOS builds kernel and modules together", evidence=seen)
    elif not built and not driver.dkms:
        if loaded:
            yield unknown("host", "the loaded module's file is in no folder that gpudoctor knows", evidence=seen)
        else:
            yield skipped("host", "no NVIDIA driver is installed; driver.not-loaded says so", evidence=seen)
    elif running is None:
        yield unknown("host", "the running kernel's release is not known", evidence=seen)
    elif running not in built and not loaded:
        yield failed("host", "there is no NVIDIA module for the running kernel {kernel}", kernel=running,
                     evidence=seen, fix=_build(host, running, _of(kernels, running)))
    elif running not in built:
        yield warned("host", "the NVIDIA module is loaded, but its file for the running kernel {kernel} is gone",
                     kernel=running, evidence=seen, fix=_build(host, running, _of(kernels, running)))
    else:
        yield _next(driver, host, built, running, seen)


def _next(
    driver: Driver, host: Host | Unavailable, built: set[str], running: str, seen: tuple[Evidence, ...]
) -> Finding:
    kernels = driver.kernels
    if isinstance(kernels, Unavailable):
        return unknown("host", "the module is built for the running kernel; which kernel boots next could not be read: "
                       "{reason}", reason=kernels.reason, evidence=seen)
    newest = next((k for k in kernels if k.newest), None)
    if newest is None:
        return passed("host", "the module is built for the running kernel {kernel}", kernel=running, evidence=seen)
    if newest.release in built:
        return passed("host", "the module is built for {kernel}, the newest kernel installed", kernel=newest.release,
                      evidence=seen)
    return warned(
        "host",
        "kernel {kernel} boots next and has no NVIDIA module (its headers are installed: {headers})",
        kernel=newest.release, headers=newest.headers, evidence=seen, fix=_build(host, newest.release, newest),
    )


def _running(host: Host | Unavailable, kernels: tuple[Kernel, ...]) -> str | None:
    told = known(host.kernel_release) if isinstance(host, Host) else None
    return told or next((k.release for k in kernels if k.running), None)


def _of(kernels: tuple[Kernel, ...], release: str) -> Kernel | None:
    return next((k for k in kernels if k.release == release), None)


def _build(host: Host | Unavailable, kernel: str, facts: Kernel | None) -> tuple[Step, ...]:
    headers = fitting(
        host,
        debian=step("Install that kernel's headers.", "sudo apt install linux-headers-{kernel}", kernel=kernel),
        rhel=step("Install that kernel's headers.", "sudo dnf install kernel-devel-{kernel}", kernel=kernel),
        other=step("Install the headers of kernel {kernel}.", kernel=kernel),
    )
    return (
        *(() if facts is not None and facts.headers else headers),
        step("Build the module for it.", "sudo dkms autoinstall -k {kernel}", kernel=kernel),
        step("If the driver came as prebuilt modules, install the package of modules for kernel {kernel} instead.",
             kernel=kernel),
    )
