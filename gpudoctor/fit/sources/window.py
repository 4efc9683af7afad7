"""Read a header front to back through a small window, from a file or over the network.

Nothing is ever asked for beyond the size given, and nothing larger than one chunk (or one checked string) is
held, however large a header claims to be.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from gpudoctor.fit.model import Unusable

Fetch = Callable[[int, int], bytes]
"""Bytes at an offset; fewer than asked for only at the end."""

_LENGTH = {"<": struct.Struct("<Q"), ">": struct.Struct(">Q")}


class Window:
    """A forward-only reader of `size` bytes; every read is checked against what is left."""

    def __init__(self, fetch: Fetch, size: int, where: str, chunk: int = 1 << 20) -> None:
        self._fetch = fetch
        self.size = size
        self.where = where
        self._chunk = chunk
        self._buffer = b""
        self._start = 0
        self._position = 0

    @property
    def offset(self) -> int:
        """Bytes from the beginning to the next one to be read."""
        return self._start + self._position

    @property
    def left(self) -> int:
        """Bytes from here to the end."""
        return self.size - self.offset

    def broken(self, why: str) -> Unusable:
        """The error for a header that cannot be."""
        return Unusable(f"{why} (at byte {self.offset})", where=self.where)

    def _fill(self, count: int) -> None:
        held = self._buffer[self._position :]
        offset = self.offset
        wanted = min(max(self._chunk, count), self.size - offset) - len(held)
        more = self._fetch(offset + len(held), wanted) if wanted > 0 else b""
        self._start, self._position, self._buffer = offset, 0, held + more

    def take(self, count: int) -> bytes:
        """The next bytes; raises `Unusable` when the file ends before."""
        if count > self.left:
            raise self.broken(f"the header ends early: {count} bytes wanted, {max(0, self.left)} left")
        if self._position + count > len(self._buffer):
            self._fill(count)
            if count > len(self._buffer):
                raise self.broken("the header ends early")
        data = self._buffer[self._position : self._position + count]
        self._position += count
        return data

    def skip(self, count: int) -> None:
        """Move on without reading."""
        if count > self.left:
            raise self.broken(f"the header ends early: {count} bytes wanted, {max(0, self.left)} left")
        if self._position + count <= len(self._buffer):
            self._position += count
        else:
            self._start, self._position, self._buffer = self.offset + count, 0, b""

    def skip_strings(self, count: int, order: str = "<") -> None:
        """Move past this many strings, each after its 64-bit length, without keeping any."""
        length = _LENGTH[order].unpack_from
        while count:
            if len(self._buffer) - self._position < 8:
                if self.left < 8:
                    raise self.broken("the header ends early: a string's length is missing")
                self._fill(8)
            buffer, position, done = self._buffer, self._position, -1
            try:
                for done in range(count):  # noqa: B007  (read after the loop)
                    position += 8 + length(buffer, position)[0]
                done = count
            except (struct.error, OverflowError):
                pass
            count -= done
            if self._start + position > self.size:
                raise self.broken("the header ends early: a string reaches beyond the end")
            if position <= len(buffer):
                self._position = position
            else:
                self._start, self._position, self._buffer = self._start + position, 0, b""


def file_window(file: BinaryIO, size: int, path: Path) -> Window:
    """A window on an open file."""

    def fetch(offset: int, count: int) -> bytes:
        file.seek(offset)
        return file.read(count)

    return Window(fetch, size, str(path))
