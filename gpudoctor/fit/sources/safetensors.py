"""safetensors headers and shard indexes: names, types and shapes of tensors, never their data.

A file starts with the length of a JSON header, which gives every tensor's type, shape and byte range; the
format allows 100 MB for it, ours fewer: no model comes near. Layout: the safetensors documentation.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources.strict_json import LARGEST, parse_json
from gpudoctor.fit.sources.window import Window, file_window

_TENSORS = 1 << 19
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64,
    "I64": 64, "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


class Entry(NamedTuple):
    """One tensor of a file."""

    name: str
    type_name: str
    shape: tuple[int, ...]
    """Outermost first, as safetensors writes it."""
    size: int
    """Bytes."""

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class File(NamedTuple):
    """The header of one safetensors file."""

    path: str
    tensors: tuple[Entry, ...]
    file_bytes: int
    missing_bytes: int
    """Bytes of tensors beyond the end of the file."""


def read_header(window: Window) -> File:
    """Read the header at the start of a window; raises `Unusable` for anything that is no sound header."""
    if window.size < 10:
        raise Unusable("no safetensors file: shorter than a header", where=window.where)
    length = int.from_bytes(window.take(8), "little")
    if not 2 <= length <= min(LARGEST, window.left):
        raise window.broken(f"a header of {length} bytes cannot be in this file")
    data = window.take(length)
    if data[:1] != b"{":
        raise Unusable("no safetensors file: its header is no JSON object", where=window.where)
    found = parse_json(data, window.where)
    if len(found) > _TENSORS:
        raise Unusable("no safetensors file: its header names too many tensors", where=window.where)
    found.pop("__metadata__", None)
    entries, end = [], 0
    for name, described in found.items():
        entry, last = _entry(name, described, window)
        entries.append(entry)
        end = max(end, last)
    if sum(entry.size for entry in entries) > end:
        raise Unusable("tensors overlap", where=window.where)
    return File(window.where, tuple(entries), window.size, max(0, 8 + length + end - window.size))


def _entry(name: str, described: Any, window: Window) -> tuple[Entry, int]:
    def wrong(why: str) -> Unusable:
        return Unusable(f"tensor {name[:80]!r} {why}", where=window.where)

    if not isinstance(described, dict):
        raise wrong("is not described")
    kind, shape, offsets = (described.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or kind not in _BITS:
        raise wrong(f"has an unknown type {str(kind)[:40]!r}")
    if not isinstance(shape, list) or len(shape) > 8 or not all(_count(item) for item in shape):
        raise wrong("has an impossible shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_count(item) for item in offsets):
        raise wrong("has impossible offsets")
    bits = math.prod(shape) * _BITS[kind]
    if offsets[1] - offsets[0] != (bits + 7) // 8:
        raise wrong("has offsets that do not agree with its shape")
    return Entry(name, kind, tuple(shape), offsets[1] - offsets[0]), offsets[1]


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 50


def read_safetensors(path: Path) -> File:
    """Read the header of a safetensors file; raises `Unusable` when it is none or cannot be read."""
    try:
        size = path.stat().st_size
        with path.open("rb", buffering=0) as file:
            return read_header(file_window(file, size, path))
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror or error}", where=str(path)) from None
