"""Reading a file once, with every checksum that is wanted of it."""

import hashlib
import os
import threading
from collections.abc import Callable, Collection
from typing import Any, Protocol

#: Large enough that a thread is rarely switched, small enough for a core's own cache.
BUFFER = 1 << 20
#: Algorithm -> digits of its digest. ``git-sha1`` is the name git gives a file's contents.
DIGITS = {
    "md5": 32, "sha1": 40, "git-sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128, "blake2b": 128,
}  # fmt: skip

_buffers = threading.local()
Tick = Callable[[int], None]


class Hasher(Protocol):
    """What is used of hashlib's objects."""

    def update(self, data: Any, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """Return what they come to."""


def hasher(algorithm: str, size: int) -> Hasher:
    """Return a new hash object; ``size`` is the file's length, which git puts before its contents."""
    name = "sha1" if algorithm == "git-sha1" else algorithm
    made = hashlib.new(name, usedforsecurity=False)
    if algorithm == "git-sha1":
        made.update(b"blob %d\0" % size)
    return made


def buffer() -> memoryview:
    """Return this thread's buffer."""
    view: memoryview | None = getattr(_buffers, "view", None)
    if view is None:
        view = _buffers.view = memoryview(bytearray(BUFFER))
    return view


def digests(handle: int, size: int, algorithms: Collection[str], tick: Tick) -> dict[str, str]:
    """Return the checksums of an open file from here to its end; ``tick`` is told of the bytes, and may raise."""
    if hasattr(os, "posix_fadvise") and size > BUFFER:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    hashers = {name: hasher(name, size) for name in algorithms}
    view = buffer()
    while count := os.readv(handle, [view]):
        part = view[:count]
        for each in hashers.values():
            each.update(part)
        tick(count)
    return {name: each.hexdigest() for name, each in hashers.items()}
