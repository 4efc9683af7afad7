"""Which GPUs the CUDA code in a file was compiled for: the headers of its fat binaries, never its code.

A fat binary is a container (magic 0xBA55ED50) of entries, one for each architecture: machine code (SASS) or PTX,
compressed or not. Only headers are read, each of which says where the next one is, so that the gigabyte of a large
library is mostly stepped over. Layout (little-endian): container u32 magic, u16 version, u16 header size, u64 length;
entry u16 kind, u16, u32 header size, u64 payload size, ..., u32 architecture at 28, ..., u64 flags at 40. Checked
against what nvcc writes for every kind of target.
"""

import struct
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from gpudoctor.probes.elf import ElfError, read_elf
from gpudoctor.probes.regular_file import RegularFile

MAGIC = b"\x50\xed\x55\xba"
#: The sections that nvcc puts fat binaries into.
SECTIONS = (".nv_fatbin", "nv_fatbin")

_CONTAINER = struct.Struct("<IHHQ")
_ENTRY = struct.Struct("<HHIQ12xI8xQ")
_PTX, _SASS = 1, 2
_EXACT, _FAMILY = 0x100000, 0x200000
_CHUNK_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 14
_PIECE_BYTES = 1 << 10
_NEAR_BYTES = 1 << 12
_MAX_ENTRIES = 4_000_000
_FEW = 0.1
_ALIGNMENT = 8
_CLOCK_EVERY = 1024


class FatbinTimeout(Exception):
    """The time given was over before the end of the file; ``done`` is how much of it was looked at, 0 to 1."""

    def __init__(self, done: float) -> None:
        super().__init__(f"only {done:.0%} of it was looked at in the time given")
        self.done = done


class Scan(NamedTuple):
    """What was found, in the form ``sm_90``, ``sm_90a``, ``compute_120`` (PTX), sorted.

    ``arch_list`` is what the file as a whole was compiled for. ``few`` are architectures that less than a tenth of its
    containers have: single kernels with a target of their own, or an object that a careless build let in.
    """

    arch_list: tuple[str, ...]
    few: tuple[str, ...]
    containers: int
    entries: int
    damaged: int


class _Window:
    """Reads small pieces through a buffer, so that near ones cost one call to the system."""

    def __init__(self, file: RegularFile) -> None:
        self._file = file
        self._start = 0
        self._data = b""

    def at(self, start: int, length: int) -> bytes:
        offset = start - self._start
        if offset < 0 or offset + length > len(self._data):
            # A jump far ahead is followed by another one: reading much there would be in vain.
            near = 0 <= offset - len(self._data) <= _NEAR_BYTES
            self._data = self._file.read(start, max(length, _WINDOW_BYTES if near else _PIECE_BYTES))
            self._start, offset = start, 0
        return self._data[offset : offset + length]


def scan(file: RegularFile, seconds: float = 5.0) -> Scan:
    """Return the architectures of all CUDA code in a file; none for a file without any.

    The section of fat binaries is read where there is one, else the whole file. Containers that break the format are
    counted, not followed.

    Raises:
        FatbinTimeout: ``seconds`` were over first (a cold disk).
        OSError: It cannot be read.
    """
    deadline = time.monotonic() + seconds
    counts: Counter[tuple[int, int, int]] = Counter()
    containers = entries = damaged = 0
    regions = _regions(file)
    total = sum(size for _, size in regions) or 1
    before = 0
    for start, size in regions:
        window = _Window(file)
        position, end = start, start + size
        while position < end:
            if window.at(position, 4) != MAGIC:
                position = _next_magic(file, position, end, deadline, before - start, total)
                continue
            found: set[tuple[int, int, int]] = set()
            done, broken, position = _container(window, position, end, found, entries, deadline)
            counts.update(found)
            containers += 1
            entries += done
            damaged += broken
            if time.monotonic() > deadline and position < end:
                raise FatbinTimeout((before + position - start) / total)
            if entries > _MAX_ENTRIES:
                raise FatbinTimeout((before + position - start) / total)
        before += size
    few = {each for each, count in counts.items() if count < _FEW * (containers - damaged)}
    return Scan(names_of(counts.keys() - few), names_of(few), containers, entries, damaged)


def _regions(file: RegularFile) -> list[tuple[int, int]]:
    try:
        sections = read_elf(file).sections
    except ElfError:
        sections = {}
    return [sections[name] for name in SECTIONS if name in sections] or [(0, file.size)]


def _container(
    window: _Window, start: int, end: int, found: set[tuple[int, int, int]], before: int, deadline: float
) -> tuple[int, bool, int]:
    """Read one container; return its number of entries, whether it is damaged, and where to go on."""
    head = window.at(start, _CONTAINER.size)
    beyond = start + _ALIGNMENT
    if len(head) < _CONTAINER.size:
        return 0, True, end
    _, version, header_bytes, length = _CONTAINER.unpack(head)
    last = start + header_bytes + length
    if not 1 <= version <= 8 or not _CONTAINER.size <= header_bytes <= 256 or last > end:
        return 0, True, beyond
    position, count = start + header_bytes, 0
    while position + _ENTRY.size <= last:
        entry = window.at(position, _ENTRY.size)
        if len(entry) < _ENTRY.size:
            return count, True, end
        kind, _, entry_bytes, payload, arch, flags = _ENTRY.unpack(entry)
        if not _ENTRY.size <= entry_bytes <= 4096 or payload > last - position - entry_bytes:
            return count, True, beyond
        if kind in (_PTX, _SASS) and 10 <= arch <= 999:
            found.add((kind, arch, flags & (_EXACT | _FAMILY)))
        count += 1
        position += entry_bytes + payload
        if before + count > _MAX_ENTRIES or (count % _CLOCK_EVERY == 0 and time.monotonic() > deadline):
            break
    return count, False, start - (start - last) // _ALIGNMENT * _ALIGNMENT


def _next_magic(file: RegularFile, start: int, end: int, deadline: float, shift: int, total: int) -> int:
    """Return where the next container begins. Compilers align them, so that one byte of eight tells most places."""
    # Containers lie close together, or not at all: a small look first.
    buffer = bytearray(_WINDOW_BYTES)
    while start < end:
        got = file.read_into(memoryview(buffer)[: end - start], start)
        if got <= 0:
            return end
        ends = buffer[len(MAGIC) - 1 : got : _ALIGNMENT]
        at = -1
        while (at := ends.find(MAGIC[-1], at + 1)) >= 0:
            if buffer[at * _ALIGNMENT : at * _ALIGNMENT + len(MAGIC)] == MAGIC:
                return start + at * _ALIGNMENT
        # A short read must not shift what follows.
        start += -(-got // _ALIGNMENT) * _ALIGNMENT
        if len(buffer) < _CHUNK_BYTES:
            buffer = bytearray(_CHUNK_BYTES)
        if time.monotonic() > deadline and start < end:
            raise FatbinTimeout((start + shift) / total)
    return end


def names_of(found: Iterable[tuple[int, int, int]]) -> tuple[str, ...]:
    """Return the names of (kind, architecture, flags), lowest architecture first, PTX last."""
    names: list[str] = []
    for kind, arch, flags in sorted(found, key=lambda f: (f[0] != _SASS, f[1], f[2])):
        suffix = "a" if flags & _EXACT else "f" if flags & _FAMILY else ""
        names.append(f"{'sm' if kind == _SASS else 'compute'}_{arch}{suffix}")
    return tuple(names)
