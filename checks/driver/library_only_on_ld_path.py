"""The driver's library is found only through LD_LIBRARY_PATH, in two versions, or a stub comes first.

## Why it matters
`sudo` and systemd drop `LD_LIBRARY_PATH`, so a driver that is found only through it looks missing to every service. Of
two copies of different versions each program takes the one that its own path finds first. A stub (of the toolkit's
`stubs` folder, made for linking on machines without driver) answers every call with an error.

## How to fix
Name the folder in a file of `/etc/ld.so.conf.d` and run `ldconfig`; remove the copy that does not belong to the loaded
module; take `stubs` out of `LD_LIBRARY_PATH`.

## References
- https://man7.org/linux/man-pages/man8/ld.so.8.html
- https://docs.nvidia.com/cuda/cuda-installation-guide-linux/index.html
- https://github.com/unslothai/unsloth/issues/11106
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, need, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver, Library
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import need_nvidia

_SONAMES = ("libnvidia-ml.so.1", "libcuda.so.1")


@check()
def library_only_on_ld_path(driver: Driver, pci: Pci | Unavailable, host: Host | Unavailable) -> Iterator[Finding]:
    """Look at every copy in the loader's order."""
    if not (isinstance(host, Host) and host.wsl):
        need_nvidia(pci)
    libraries = need(driver.libraries)
    copies = {name: tuple(lib for lib in libraries if lib.soname == name) for name in _SONAMES}
    seen = tuple(saw(name, tuple(_place(lib) for lib in found), "LD_LIBRARY_PATH, /etc/ld.so.cache, default folders")
                 for name, found in copies.items())
    if not any(copies.values()):
        yield skipped("host", "no copy of the driver's libraries is where the loader looks", evidence=seen)
        return
    stub = next((found[0] for found in copies.values() if found and found[0].stub), None)
    only = next((found[0] for found in copies.values()
                 if found and all(lib.origin == "ld-library-path" for lib in found)), None)
    loaded = known(driver.loaded_version)
    strangers = [lib for found in copies.values() for lib in _versioned(found) if lib.version != loaded]
    two = next((found for found in copies.values() if len({lib.version for lib in _versioned(found)}) > 1), None)
    if stub is not None:
        yield warned("host", "a stub comes first: {path}; programs that take it find no GPU", path=stub.path,
                     evidence=seen, fix=step("Take the folder {folder} out of LD_LIBRARY_PATH.",
                                             folder=stub.path.rpartition("/")[0]))
    if only is not None and not only.stub:
        folder = only.path.rpartition("/")[0]
        yield warned(
            "host", "{path} is found only through LD_LIBRARY_PATH, which sudo and services drop", path=only.path,
            evidence=seen,
            fix=step("Let the loader know the folder.",
                     "echo {folder} | sudo tee /etc/ld.so.conf.d/nvidia-driver.conf && sudo ldconfig", folder=folder))
    if two is not None:
        yield warned(
            "host", "two versions of {name} are installed: {places}", name=two[0].soname,
            places=tuple(_place(lib) for lib in _versioned(two)), evidence=seen,
            fix=step("Keep the version of the loaded module ({loaded}); remove what brought {others}.", loaded=loaded,
                     others=tuple(dict.fromkeys(lib.real_path for lib in strangers))))
    if stub is None and only is None and two is None:
        yield passed("host", "the loader finds the driver's libraries by itself", evidence=seen)


def _versioned(found: tuple[Library, ...]) -> tuple[Library, ...]:
    return tuple(lib for lib in found if lib.version is not None and not lib.stub)


def _place(lib: Library) -> str:
    return f"{lib.path} ({lib.version or 'no version'}, {lib.origin})"
