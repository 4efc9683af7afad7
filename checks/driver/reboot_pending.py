"""A reboot is due: packages ask for it, or a newer kernel is installed than the one that runs.

## Why it matters
Until the reboot, what runs and what is installed differ. The next reboot, planned or not, brings another kernel, maybe
another driver, under a server that was never tried with them.

## How to fix
Reboot before a long-running server is launched, after a look at `driver.missing-for-next-kernel`.

## References
- https://documentation.ubuntu.com/server/how-to/software/automatic-updates/
- https://manpages.debian.org/stable/needrestart/needrestart.1.en.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, need, passed, saw, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver, Packages
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import need_nvidia, need_own_system
from gpudoctor.judging.remedies import reboot


@check()
def reboot_pending(
    packages: Packages | Unavailable, driver: Driver | Unavailable, pci: Pci | Unavailable, host: Host | Unavailable
) -> Iterator[Finding]:
    """Look for the mark that packages leave, and compare the running kernel with the newest."""
    need_nvidia(pci)
    need_own_system(host)
    marked = known(packages.reboot_required) if isinstance(packages, Packages) else None
    names = packages.reboot_packages if isinstance(packages, Packages) else ()
    kernels = (known(driver.kernels) or ()) if isinstance(driver, Driver) else ()
    running = next((k.release for k in kernels if k.running), None)
    newest = next((k.release for k in kernels if k.newest), None)
    seen = (
        saw("reboot asked for", marked, "/run/reboot-required"),
        saw("running kernel", running, "/proc/sys/kernel/osrelease"),
        saw("newest kernel", newest, "/boot, /lib/modules"),
    )
    if marked:
        yield warned("host", "a reboot is due for {names}", names=names or ("packages that do not say which",),
                     evidence=seen, fix=reboot(host))
    elif running is not None and newest is not None and running != newest:
        yield warned("host", "kernel {newest} is installed, {running} runs", newest=newest, running=running,
                     evidence=seen, fix=reboot(host))
    elif marked is None and running is None:
        # Neither source tells: the reason of the one that was asked first.
        need(need(packages).reboot_required)
        need(need(driver).kernels)
    else:
        yield passed("host", "no reboot is due", evidence=seen)
