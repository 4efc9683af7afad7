"""The frames of a zstd file, told without a library (RFC 8878): complete, with checksums, readable at all?

Libraries differ: one ends quietly where a file is cut, and none tells damage from a window or dictionary it lacks.
"""

import os
from typing import NamedTuple

_MAGIC, _SKIPPABLE = 0xFD2FB528, 0x184D2A50
#: What libzstd takes without being told to (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
_LARGEST_WINDOW = 1 << 27
#: No writer makes blocks of nothing in a row; they would only cost time.
_MOST_EMPTY = 1_000
_AT_ONCE = 4096


class Frames(NamedTuple):
    """What the frames say of themselves: what is wrong, why they cannot be read here, whether all have a checksum."""

    problem: str = ""
    unreadable: str = ""
    checked: bool = False


class _End(Exception):
    """The file ends within a frame."""


def frames(handle: int) -> Frames:
    """Walk from frame to frame; contents are skipped, so that it costs a hundredth of reading them."""
    file = _File(handle)
    at, checked, some = 0, True, False
    try:
        while at < file.size:
            magic = file.number(at, 4)
            if magic & 0xFFFFFFF0 == _SKIPPABLE:
                at += 8 + file.number(at + 4, 4)
                if at > file.size:
                    raise _End
                continue
            if magic != _MAGIC:
                return Frames(problem="what stands behind its first frame is no zstd" if some else "it is no zstd file")
            flags = file.number(at + 4, 1)
            at, why = _header(file, at + 5, flags)
            if why:
                return Frames(unreadable=why)
            at = _blocks(file, at) + (4 if flags & 4 else 0)
            if at > file.size:
                raise _End
            some, checked = True, checked and bool(flags & 4)
    except _End:
        return Frames(problem="it is cut short")
    except ValueError as error:
        return Frames(problem=str(error))
    return Frames(checked=checked and some) if some else Frames(problem="it is cut short")


def _header(file: "_File", at: int, flags: int) -> tuple[int, str]:
    """Return where the blocks begin, and why they cannot be read here."""
    alone = bool(flags & 0x20)
    window = 0
    if not alone:
        shown = file.number(at, 1)
        base = 1 << (10 + (shown >> 3))
        window, at = base + base // 8 * (shown & 7), at + 1
    width = (0, 1, 2, 4)[flags & 3]
    dictionary, at = file.number(at, width), at + width
    width = (1 if alone else 0, 2, 4, 8)[flags >> 6]
    if alone:
        window = file.number(at, width)
    if dictionary:
        return at + width, "it was packed with a dictionary, and can only be read with that"
    if window > _LARGEST_WINDOW:
        return at + width, f"it was packed with a window of {window >> 20} MiB: unpack it with zstd -d --long=31"
    return at + width, ""


def _blocks(file: "_File", at: int) -> int:
    """Return where the blocks end."""
    empty = 0
    while True:
        header = file.number(at, 3)
        last, kind, size = header & 1, header >> 1 & 3, header >> 3
        if kind == 3:
            raise ValueError("a block of it is of no kind that there is")
        empty = empty + 1 if not size else 0
        if empty > _MOST_EMPTY:
            raise ValueError("it holds blocks of nothing")
        at += 3 + (1 if kind == 1 else size)
        if last:
            return at


class _File:
    """Numbers from anywhere in an open file, little end first."""

    def __init__(self, handle: int) -> None:
        self._handle, self._start, self._held = handle, 0, b""
        self.size = os.fstat(handle).st_size

    def number(self, at: int, width: int) -> int:
        if at + width > self.size:
            raise _End
        if not self._start <= at <= at + width <= self._start + len(self._held):
            self._start, self._held = at, os.pread(self._handle, _AT_ONCE, at)
            if len(self._held) < width:
                raise _End
        return int.from_bytes(self._held[at - self._start : at - self._start + width], "little")
