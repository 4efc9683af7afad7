"""Which copy of a library the dynamic loader would take: its documented search, walked without loading anything.

Order (ld.so(8)): the object's DT_RPATH (and its loaders', when it has no DT_RUNPATH), ``LD_LIBRARY_PATH``, the
object's DT_RUNPATH, /etc/ld.so.cache, the default folders. ``glibc-hwcaps`` subfolders are left out.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.probes.cuda_names import WHEELS
from gpudoctor.probes.elf import Elf, ElfError, read_elf
from gpudoctor.probes.ld_cache import MAX_CACHE_BYTES, CacheError, parse_cache
from gpudoctor.probes.regular_file import open_regular, real_path
from gpudoctor.probes.root import Root

CACHE = "/etc/ld.so.cache"
DEFAULT_FOLDERS = (
    "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
    "/lib64", "/usr/lib64", "/lib", "/usr/lib",
)
#: Sonames that exist, for a cache that is asked by name.
_MAJORS = range(1, 16)


class Found(NamedTuple):
    """The copy taken, and the rule that led to it; ``missing`` with path None."""

    path: str | None
    via: str


class Loader:
    """The loader's view of one file system.

    Args:
        root: The file system.
        library_path: Folders of ``LD_LIBRARY_PATH``.
    """

    def __init__(self, root: Root, library_path: Sequence[str] = ()) -> None:
        self.root = root
        self.library_path = tuple(library_path)
        self._cache = read_cache(root)
        self._known: dict[str, bool] = {}

    def find(self, soname: str, elf: Elf, path: str, loaders_rpath: Sequence[str] = ()) -> Found:
        """Return the copy of ``soname`` that the object at ``path`` would get.

        Args:
            soname: What it needs.
            elf: The object's headers.
            path: Where the object lies, for ``$ORIGIN``.
            loaders_rpath: DT_RPATH of what loads it (the interpreter's), expanded.
        """
        folder = real_path(self.root, path).rpartition("/")[0]
        inherited = () if elf.runpath else (*expanded(elf.rpath, folder), *loaders_rpath)
        for via, folders in (("rpath", inherited), ("ld-library-path", self.library_path),
                             ("runpath", expanded(elf.runpath, folder))):
            for place in folders:
                if self._is_there(f"{place}/{soname}"):
                    return Found(f"{place}/{soname}", via)
        for cached in self._cache.get(soname, ()):
            if self._is_there(cached):
                return Found(cached, "loader-cache")
        for place in DEFAULT_FOLDERS:
            if self._is_there(f"{place}/{soname}"):
                return Found(f"{place}/{soname}", "default-directory")
        return Found(None, "missing")

    def _is_there(self, path: str) -> bool:
        if path not in self._known:
            self._known[path] = self.root.exists(path)
        return self._known[path]


def expanded(folders: Iterable[str], origin: str) -> tuple[str, ...]:
    """Put the object's own folder in place of ``$ORIGIN``; what is not absolute then is left out."""
    found = (part.replace("${ORIGIN}", origin).replace("$ORIGIN", origin).rstrip("/") for part in folders)
    return tuple(part for part in found if part.startswith("/"))


def read_cache(root: Root, libraries: Collection[str] = tuple(WHEELS)) -> Mapping[str, tuple[str, ...]]:
    """Return soname -> paths of CUDA's libraries in the loader's cache; empty when it cannot be read."""
    sonames = [f"{name}.so" for name in libraries]
    sonames += [f"{name}.so.{major}" for name in libraries for major in _MAJORS]
    sonames += ["libcudart.so.11.0", "libcudart.so.10.2", "libcudart.so.10.1", "libcuda.so.1"]
    try:
        data = root.read_bytes(CACHE, MAX_CACHE_BYTES)
        entries = parse_cache(data or b"", frozenset(sonames)) if data else ()
    except (OSError, CacheError):
        return {}
    found: dict[str, list[str]] = {}
    for entry in entries:
        found.setdefault(entry.soname, []).append(entry.path)
    return {soname: tuple(dict.fromkeys(paths)) for soname, paths in found.items()}


def headers(root: Root, path: str) -> Elf | None:
    """Return a file's ELF headers, None when it has none or cannot be read."""
    try:
        with open_regular(root, path) as file:
            return read_elf(file)
    except (OSError, ElfError):
        return None
