"""The dynamic loader's cache, /etc/ld.so.cache, read within bounds and without running ldconfig."""

import struct
from collections.abc import Collection
from typing import NamedTuple

MAX_CACHE_BYTES = 32 << 20
_MAX_ENTRIES = 200_000
_MAX_NAME = 4096

_OLD_MAGIC = b"ld.so-1.7.0"
_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER_BYTES = 48
_ENTRY_BYTES = 24
_OLD_HEADER_BYTES = 16
_OLD_ENTRY_BYTES = 12
_BIG_ENDIAN = 3

_KIND_MASK, _GLIBC = 0x00FF, 0x03
#: 64-bit entries by the byte of their architecture; a 32-bit copy beside them is no second driver.
_ARCHITECTURES = {0x03: "x86_64", 0x05: "ppc64le", 0x0A: "aarch64", 0x10: "riscv64"}


class CacheEntry(NamedTuple):
    """One line of ``ldconfig -p``: a name, the file that it stands for, and the architecture of both."""

    soname: str
    path: str
    architecture: str


class CacheError(ValueError):
    """The file is no loader cache of a form that this reader knows."""


def parse_cache(data: bytes, sonames: Collection[str]) -> tuple[CacheEntry, ...]:
    """Return the 64-bit entries of these names, in the cache's order, which is the loader's.

    Raises:
        CacheError: It is cut short or of another form.
    """
    base = _new_format(data)
    if len(data) < base + _HEADER_BYTES:
        raise CacheError("the loader cache is cut short")
    order = ">" if data[base + 28] & 3 == _BIG_ENDIAN else "<"
    (count,) = struct.unpack_from(f"{order}I", data, base + len(_MAGIC))
    if count > _MAX_ENTRIES or len(data) < base + _HEADER_BYTES + count * _ENTRY_BYTES:
        raise CacheError("the loader cache is cut short")
    wanted = {name.encode() for name in sonames}
    found: list[CacheEntry] = []
    for number in range(count):
        flags, key, value = struct.unpack_from(f"{order}iII", data, base + _HEADER_BYTES + number * _ENTRY_BYTES)
        architecture = _ARCHITECTURES.get(flags >> 8 & 0xFF)
        if flags & _KIND_MASK != _GLIBC or architecture is None:
            continue
        name = _string(data, base + key)
        if name in wanted:
            path = _string(data, base + value).decode("utf-8", "replace")
            found.append(CacheEntry(name.decode(), path, architecture))
    return tuple(found)


def _new_format(data: bytes) -> int:
    """Return where the current form begins; older glibc puts its old form before it."""
    if data.startswith(_MAGIC):
        return 0
    if data.startswith(_OLD_MAGIC) and len(data) >= _OLD_HEADER_BYTES:
        count = int.from_bytes(data[12:16], "little")
        end = _OLD_HEADER_BYTES + min(count, _MAX_ENTRIES) * _OLD_ENTRY_BYTES
        for start in (end, (end + 7) // 8 * 8):
            if data[start : start + len(_MAGIC)] == _MAGIC:
                return start
    raise CacheError("not a glibc loader cache")


def _string(data: bytes, start: int) -> bytes:
    end = data.find(b"\0", start, start + _MAX_NAME)
    return data[start:end] if end >= 0 else b""
