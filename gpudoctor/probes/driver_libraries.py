"""Every copy of the driver's libraries that the dynamic loader could take, in its order. Nothing is loaded."""

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Library
from gpudoctor.probes.ld_cache import MAX_CACHE_BYTES, CacheEntry, CacheError, parse_cache
from gpudoctor.probes.root import Root

SONAMES = ("libnvidia-ml.so.1", "libcuda.so.1", "libnvidia-ptxjitcompiler.so.1")
#: The name without number, which some programs ask for and WSL's cache lacks.
PLAIN = "libcuda.so"

_CACHE = "/etc/ld.so.cache"
_DEFAULT_DIRECTORIES = (
    "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
    "/lib64", "/usr/lib64", "/lib", "/usr/lib",
)
_OTHER_DIRECTORIES = (("wsl", "/usr/lib/wsl/lib"), ("nixos", "/run/opengl-driver/lib"))
_VERSION = re.compile(r"\.so\.(\d{2,4}\.\d+(?:\.\d+)?)$")
_MAX_DIRECTORIES = 64
_MAX_LIBRARIES = 256
_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x15: "ppc64le", 0xF3: "riscv64"}


class Cache(NamedTuple):
    """The loader cache's entries of our names."""

    entries: tuple[CacheEntry, ...]


def read_cache(root: Root) -> Cache | Unavailable:
    """Read the loader's cache; one that is not there is empty (musl, NixOS)."""
    try:
        data = root.read_bytes(_CACHE, MAX_CACHE_BYTES + 1)
    except PermissionError:
        return Unavailable(f"no permission to read {_CACHE}", "no-permission")
    if data is None:
        return Cache(())
    if len(data) > MAX_CACHE_BYTES:
        return Unavailable(f"{_CACHE} is larger than a loader cache may be", "error")
    try:
        return Cache(parse_cache(data, (*SONAMES, PLAIN)))
    except CacheError as error:
        return Unavailable(f"{_CACHE}: {error}", "error")


def read_libraries(
    root: Root, cache: Cache | Unavailable, library_path: str, skip: Iterable[str] = ()
) -> tuple[Library, ...] | Unavailable:
    """Find every copy: ``LD_LIBRARY_PATH``, the cache, the default folders, WSL's and NixOS's own.

    Args:
        root: The file system.
        cache: What ``read_cache`` said.
        library_path: The variable's value; empty under a prefix, where it would be another machine's.
        skip: Folders of it that must not be touched, because looking at them hung before.
    """
    if isinstance(cache, Unavailable):
        return cache
    found: list[Library] = []
    seen: set[tuple[str, str]] = set()
    for soname, path, origin in _candidates(cache, library_path, frozenset(skip)):
        library = _library(root, soname, path, origin)
        if library is not None and (soname, library.real_path) not in seen:
            seen.add((soname, library.real_path))
            found.append(library)
    return tuple(found[:_MAX_LIBRARIES])


def folders_of(library_path: str) -> tuple[str, ...]:
    """Split ``LD_LIBRARY_PATH``; relative and empty parts mean the current directory, which is not ours to judge."""
    return tuple(part for part in re.split(r"[:;]", library_path) if part.startswith("/"))[:_MAX_DIRECTORIES]


def _candidates(cache: Cache, library_path: str, skip: frozenset[str]) -> Iterator[tuple[str, str, str]]:
    for soname in SONAMES:
        for folder in folders_of(library_path):
            if folder not in skip:
                yield soname, f"{folder}/{soname}", "ld-library-path"
        for entry in cache.entries:
            if entry.soname == soname:
                yield soname, entry.path, "loader-cache"
        for folder in _DEFAULT_DIRECTORIES:
            yield soname, f"{folder}/{soname}", "default-directory"
        for origin, folder in _OTHER_DIRECTORIES:
            yield soname, f"{folder}/{soname}", origin


def _library(root: Root, soname: str, path: str, origin: str) -> Library | None:
    if not path.startswith("/") or not root.exists(path):
        return None
    if origin in ("ld-library-path", "default-directory") and not _is_native(root, path):
        return None
    real = _real_path(root, path)
    version = _VERSION.search(real)
    return Library(
        soname=soname,
        path=path,
        real_path=real,
        origin=origin,
        version=version[1] if version else None,
        stub="/stubs/" in path or "/stubs/" in real,
    )


def _is_native(root: Root, path: str) -> bool:
    """Tell a 64-bit library from what the loader would pass over: a 32-bit copy, or no library at all."""
    try:
        head = root.read_bytes(path, 20)
    except PermissionError:
        return True
    if head is None or len(head) < 20 or head[:4] != b"\x7fELF":
        return False
    order = "big" if head[5] == 2 else "little"
    machine = int.from_bytes(head[18:20], order)  # type: ignore[arg-type]
    return head[4] == 2 and (not root.live or _MACHINES.get(machine) in (None, os.uname().machine))


def _real_path(root: Root, path: str) -> str:
    if root.live:
        return os.path.realpath(path)
    real = str(root.path(path))
    return real[len(root.prefix) :] if real.startswith(root.prefix + "/") else real


def plain_libcuda(cache: Cache | Unavailable) -> bool | Unavailable:
    """True when the loader's cache knows ``libcuda.so`` without number."""
    return cache if isinstance(cache, Unavailable) else any(entry.soname == PLAIN for entry in cache.entries)
