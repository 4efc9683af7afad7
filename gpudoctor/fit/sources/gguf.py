"""GGUF headers: metadata and tensor shapes of a llama.cpp or Ollama file, never its data.

The format is described in ggml's docs/gguf.md. Every count and length is checked against the bytes that are
there before anything is built from it; the tokenizer's arrays are stepped over, so a header of any model
takes milliseconds and little memory.
"""

import math
import struct
from pathlib import Path
from typing import NamedTuple

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources.types import BY_NUMBER
from gpudoctor.fit.sources.window import Window, file_window

_MAGIC = b"GGUF"
_PAIRS = 1 << 16
_TENSORS = 1 << 17
_KEY = 1 << 10
_TEXT = 1 << 12
_ITEMS = 1 << 13
_ALL_ITEMS = 1 << 24
_KEPT_ITEMS = 1 << 18
_DEPTH = 4
_STRING, _ARRAY = 8, 9
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

Scalar = int | float | bool | str


class Skipped(NamedTuple):
    """An array that was stepped over: only its length is known."""

    length: int


Value = Scalar | list[Scalar] | Skipped


class Entry(NamedTuple):
    """One tensor of the file."""

    name: str
    shape: tuple[int, ...]
    """Innermost first."""
    type_name: str | None
    """None for a type that is not known; its size is then the distance to the next tensor."""
    offset: int
    """From the start of the data."""
    size: int
    """Bytes, without padding."""


class Header(NamedTuple):
    """What a GGUF file says about itself."""

    path: str
    version: int
    metadata: dict[str, Value]
    tensors: tuple[Entry, ...]
    data_offset: int
    file_bytes: int

    @property
    def missing_bytes(self) -> int:
        """Bytes of tensors beyond the end of the file: an interrupted download or copy."""
        end = max((entry.offset + entry.size for entry in self.tensors), default=0)
        return max(0, self.data_offset + end - self.file_bytes)

    def number(self, key: str) -> int | None:
        """A whole number of the metadata; None when it is missing or of another kind."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, key: str) -> str:
        """A string of the metadata, empty when there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def numbers(self, key: str) -> list[int]:
        """A list of whole numbers (truth values count as 0 and 1); empty when there is none."""
        value = self.metadata.get(key)
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            return []
        return [int(item) for item in value]

    def length(self, key: str) -> int | None:
        """How many items an array has, kept or stepped over."""
        value = self.metadata.get(key)
        return value.length if isinstance(value, Skipped) else len(value) if isinstance(value, list) else None


class _Reader:
    def __init__(self, window: Window) -> None:
        self.window = window
        self.order = "<"
        self.items = _ALL_ITEMS
        self.kept = _KEPT_ITEMS

    def number(self, code: str) -> int:
        form = self.order + code
        value = struct.unpack(form, self.window.take(struct.calcsize(form)))[0]
        return int(value)

    def string(self, limit: int, what: str) -> str:
        length = self.number("Q")
        if length > self.window.left:
            raise self.window.broken(f"{what} of {length} bytes reaches beyond the end")
        if length <= limit:
            return self.window.take(length).decode("utf-8", "replace")
        if what != "a text":
            raise self.window.broken(f"{what} of {length} bytes is longer than {limit}")
        kept = self.window.take(limit).decode("utf-8", "replace")
        self.window.skip(length - limit)
        return kept

    def value(self, kind: int) -> Value:
        if kind in _FORMATS:
            return self.scalar(kind)
        if kind == _STRING:
            return self.string(_TEXT, "a text")
        if kind == _ARRAY:
            return self.array(1)
        raise self.window.broken(f"unknown metadata type {kind}")

    def scalar(self, kind: int) -> Scalar:
        form = self.order + _FORMATS[kind]
        value: Scalar = struct.unpack(form, self.window.take(struct.calcsize(form)))[0]
        if isinstance(value, float) and not math.isfinite(value):
            return 0.0
        return value

    def array(self, depth: int) -> Value:
        kind, count = self.number("I"), self.number("Q")
        if kind in _FORMATS:
            size = struct.calcsize("<" + _FORMATS[kind])
            if count * size > self.window.left:
                raise self.window.broken(f"an array of {count} items reaches beyond the end")
            if count > min(_ITEMS, self.kept):
                self.window.skip(count * size)
                return Skipped(count)
            self.kept -= count
            return list(struct.unpack(f"{self.order}{count}{_FORMATS[kind]}", self.window.take(count * size)))
        least = 8 if kind == _STRING else 12
        if count * least > self.window.left:
            raise self.window.broken(f"an array of {count} items reaches beyond the end")
        self.items -= count
        if self.items < 0:
            raise self.window.broken(f"an array of {count} items is longer than any tokenizer's")
        if kind == _STRING:
            self.window.skip_strings(count, self.order)
            return Skipped(count)
        if kind != _ARRAY or depth >= _DEPTH or count > _ITEMS:
            raise self.window.broken(f"an array of metadata type {kind} cannot be read")
        for _ in range(count):
            self.array(depth + 1)
        return Skipped(count)


def read_header(window: Window) -> Header:
    """Read the header at the start of a window; raises `Unusable` for anything that is no sound GGUF header."""
    reader = _Reader(window)
    if window.size < 24 or window.take(4) != _MAGIC:
        raise Unusable("no GGUF file", where=window.where)
    version = reader.number("I")
    if version & 0xFFFF == 0 and version:
        reader.order, version = ">", version >> 24
    if version not in (2, 3):
        raise Unusable(
            f"GGUF version {version} cannot be read", where=window.where, hint="versions 2 and 3 are in use since 2023"
        )
    tensor_count, pair_count = reader.number("Q"), reader.number("Q")
    if pair_count > _PAIRS or pair_count * 13 > window.left:
        raise window.broken(f"{pair_count} metadata entries cannot be in this file")
    if tensor_count > _TENSORS or tensor_count * 24 > window.left:
        raise window.broken(f"{tensor_count} tensors cannot be in this file")
    metadata: dict[str, Value] = {}
    for _ in range(pair_count):
        key = reader.string(_KEY, "a metadata key")
        if key in metadata:
            raise window.broken(f"metadata key {key[:60]!r} appears twice")
        metadata[key] = reader.value(reader.number("I"))
    raw = [_tensor(reader) for _ in range(tensor_count)]
    if len({name for name, *_ in raw}) != len(raw):
        raise window.broken("a tensor's name appears twice")
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment > 1 << 20 or alignment & (alignment - 1):
        raise window.broken(f"alignment {str(alignment)[:40]} is no power of two")
    start = -(-window.offset // alignment) * alignment
    entries = _laid_out(raw, alignment, start, window)
    return Header(window.where, version, metadata, entries, start, window.size)


_Raw = tuple[str, tuple[int, ...], int, int]


def _tensor(reader: _Reader) -> _Raw:
    name = reader.string(256, "a tensor's name")
    dimensions = reader.number("I")
    if not 0 < dimensions <= 8:
        raise reader.window.broken(f"tensor {name[:60]!r} has {dimensions} dimensions")
    shape = tuple(reader.number("Q") for _ in range(dimensions))
    elements = math.prod(shape)
    if not 0 < elements < 1 << 50:
        raise reader.window.broken(f"tensor {name[:60]!r} has an impossible shape")
    return name, shape, reader.number("I"), reader.number("Q")


def _laid_out(raw: list[_Raw], alignment: int, start: int, window: Window) -> tuple[Entry, ...]:
    """Check that the tensors lie one behind the other, as every reader of the format demands."""
    entries, expected = [], 0
    for index, (name, shape, number, offset) in enumerate(raw):
        if offset != expected:
            raise window.broken(f"tensor {name[:60]!r} lies at {offset}, not behind the one before it")
        kind = BY_NUMBER.get(number)
        if kind is not None:
            if shape[0] % kind.elements:
                raise window.broken(f"tensor {name[:60]!r} is no whole number of {kind.name} blocks")
            size = math.prod(shape) // kind.elements * kind.bytes_
        else:
            following = raw[index + 1][3] if index + 1 < len(raw) else window.size - start
            if following <= offset:
                raise window.broken(f"tensor {name[:60]!r} has unknown type {number}")
            size = following - offset
        entries.append(Entry(name, shape, kind.name if kind else None, offset, size))
        expected = -(-(offset + size) // alignment) * alignment
        if kind is None:
            expected = offset + size
    return tuple(entries)


def read_gguf(path: Path) -> Header:
    """Read the header of a GGUF file; raises `Unusable` when it is none or cannot be read."""
    try:
        size = path.stat().st_size
        with path.open("rb", buffering=0) as file:
            return read_header(file_window(file, size, path))
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror or error}", where=str(path)) from None
