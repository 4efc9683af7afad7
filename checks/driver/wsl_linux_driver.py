"""A Linux driver is installed inside WSL and hides the one that Windows provides.

## Why it matters
Under WSL the GPU belongs to Windows, and Windows puts its driver's libraries into `/usr/lib/wsl/lib`. A Linux driver,
as package or by NVIDIA's installer, puts others before them that look for a kernel module which WSL does not have:
"couldn't communicate with the NVIDIA driver". Installing `cuda` instead of `cuda-toolkit` brings one by accident.

## How to fix
Remove the Linux driver from WSL; keep the toolkit. The driver is updated in Windows, not by `wsl --update`.

## References
- https://docs.nvidia.com/cuda/wsl-user-guide/index.html
- https://github.com/microsoft/WSL/issues/8587
"""

import re
from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, check, failed, known, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver, Packages
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.judging.remedies import fitting

_WINDOWS = "/usr/lib/wsl/"
_PACKAGE = re.compile(r"nvidia-(?:driver|dkms|kernel|utils|headless|smi).*|libnvidia-compute-.*|libnvidia-ml1"
                      r"|libcuda1|cuda-drivers.*")


@check()
def wsl_linux_driver(
    host: Host, driver: Driver, packages: Packages | Unavailable, gpus: Gpus | Unavailable
) -> Iterator[Finding]:
    """Look for driver libraries outside Windows' folder, and for the driver's packages."""
    if not host.wsl:
        yield skipped("host", "not under WSL")
        return
    copies = [lib for lib in known(driver.libraries) or () if lib.soname in ("libnvidia-ml.so.1", "libcuda.so.1")]
    inside = [lib for lib in copies if not lib.real_path.startswith(_WINDOWS) and not lib.stub]
    first = [lib for lib in inside if next(c for c in copies if c.soname == lib.soname and not c.stub) is lib]
    installed = packages.installed if isinstance(packages, Packages) else ()
    named = tuple(p.name for p in installed if _PACKAGE.fullmatch(p.name))
    works = isinstance(gpus, Gpus) and gpus.error_code is None and bool(gpus.gpus)
    seen = (
        saw("driver libraries", tuple(lib.path for lib in copies), "/etc/ld.so.cache, /usr/lib/wsl/lib"),
        saw("driver packages", named, "dpkg"),
    )
    if first and not works:
        yield failed("host", "a Linux driver inside WSL hides Windows' own: {paths} comes first",
                     paths=tuple(lib.path for lib in first), evidence=seen, fix=_remove(host))
    elif inside or named:
        yield warned("host", "a Linux driver is installed inside WSL: {what}",
                     what=named or tuple(lib.path for lib in inside), evidence=seen, fix=_remove(host))
    else:
        yield passed("host", "only Windows' driver is here", evidence=seen)


def _remove(host: Host) -> tuple[Step, ...]:
    return (
        *fitting(
            host,
            debian=step(
                "Remove the Linux driver; the toolkit may stay.",
                "sudo apt purge '^nvidia-(driver|dkms|kernel|utils|headless)-.*' '^libnvidia-compute-.*' "
                "'^cuda-drivers.*' && sudo ldconfig",
                risk="removes packages"),
            other=step("Remove the Linux driver's packages or, if NVIDIA's installer was used, uninstall it.",
                       "sudo nvidia-uninstall", risk="removes the driver from WSL"),
        ),
        step("End WSL, in Windows, and start it again.", "wsl.exe --shutdown", risk="ends everything in WSL"),
    )
