"""How fast a model's file is read from its disk: a few seconds of it, past the file cache, which stays as it is."""

import ctypes
import mmap
import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.facts.serving import ModelRead
from gpudoctor.probes.reporter import Reporter

_BLOCK = 4 << 20
_PAGE = mmap.PAGESIZE
_MOST_ENTRIES = 20000
_SMALLEST = 64 << 20
_PATIENCE = 10.0
_MOST_LOOKED_AT = 64 << 30
_LOWEST_BIT = bytes(byte & 1 for byte in range(256))


class Bounds(NamedTuple):
    """The most that is read of one file."""

    bytes_: int
    seconds: float


def read_models(out: Reporter, paths: Sequence[str], most_bytes: int, seconds: float) -> None:
    """Read the largest file at or under each path and report how long it took."""
    for path in paths:
        if out.left_out(path):
            continue
        spare = ModelRead(path=path, file_bytes=0)
        out.start(path, doing="looking for the largest file", patience=_PATIENCE, section="serving", field="reads",
                  placeholder=spare, promised=True)
        file = largest(path)
        if file is None:
            out.append("serving", "reads", ModelRead(path=path, file_bytes=0, failure="no model's file was found"))
            continue
        out.start(path, doing=f"reading {file}", patience=seconds + _PATIENCE, placeholder=spare)
        try:
            found = measured(file, Bounds(most_bytes, seconds))
        except OSError as error:
            found = ModelRead(path=file, file_bytes=0, failure=error.strerror or str(error))
        out.append("serving", "reads", found)


def largest(path: str) -> str | None:
    """Return the largest regular file at or under a path, None when there is none that is worth reading."""
    if os.path.isfile(path):
        return path
    best, size, seen = None, _SMALLEST, 0
    for folder, _, names in os.walk(path):
        for name in names:
            seen += 1
            if seen > _MOST_ENTRIES:
                return best
            file = os.path.join(folder, name)
            try:
                status = os.lstat(file)
            except OSError:
                continue
            if os.path.isfile(file) and not os.path.islink(file) and status.st_size >= size:
                best, size = file, status.st_size
    return best


def measured(path: str, bounds: Bounds) -> ModelRead:
    """Read from the start of a file until a bound is met.

    Past the cache (O_DIRECT) the disk itself is measured and no cached page moves. Where the file system has no such
    reading, only pages that are not in the cache are read, and are let go afterwards.
    """
    size = os.stat(path).st_size
    cached = _cached(path, size)
    share = sum(cached) / len(cached) if cached else None
    known = ModelRead(path=path, file_bytes=size, cached_share=None if share is None else round(share, 3))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_DIRECT", 0) | os.O_CLOEXEC)
    except OSError:
        return _around_the_cache(path, size, cached, bounds, known)
    try:
        buffer = mmap.mmap(-1, _BLOCK)
        taken, started = 0, time.monotonic()
        while taken < min(size, bounds.bytes_) and time.monotonic() - started < bounds.seconds:
            try:
                got = os.readv(descriptor, [buffer])
            except OSError:
                if taken == 0:
                    return _around_the_cache(path, size, cached, bounds, known)
                break
            if got <= 0:
                break
            taken += got
        return _with(known, taken, time.monotonic() - started, "direct")
    finally:
        os.close(descriptor)


def _around_the_cache(path: str, size: int, cached: bytes | None, bounds: Bounds, known: ModelRead) -> ModelRead:
    if cached is None:
        return _failed(known, "this file system reads only through its cache, and does not tell what is in it")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        taken, started = 0, time.monotonic()
        pages = _BLOCK // _PAGE
        for first in range(0, len(cached), pages):
            if taken >= bounds.bytes_ or time.monotonic() - started >= bounds.seconds:
                break
            if any(cached[first : first + pages]):
                continue
            got = len(os.pread(descriptor, _BLOCK, first * _PAGE))
            os.posix_fadvise(descriptor, first * _PAGE, got, os.POSIX_FADV_DONTNEED)
            taken += got
        spent = time.monotonic() - started
    finally:
        os.close(descriptor)
    if taken < min(size, _SMALLEST):
        return _failed(known, "the file lies in the file cache: its disk was not measured")
    return _with(known, taken, spent, "uncached pages")


def _with(known: ModelRead, taken: int, seconds: float, method: str) -> ModelRead:
    if taken == 0:
        return _failed(known, "nothing could be read of it")
    return ModelRead(path=known.path, file_bytes=known.file_bytes, cached_share=known.cached_share, read_bytes=taken,
                     seconds=round(seconds, 4), method=method)


def _failed(known: ModelRead, why: str) -> ModelRead:
    return ModelRead(path=known.path, file_bytes=known.file_bytes, cached_share=known.cached_share, failure=why)


def _cached(path: str, size: int) -> bytes | None:
    """Return one byte for each page, 1 when it is in the file cache (mincore); None when the kernel does not tell."""
    # To those who may not write a file the kernel calls every page of it cached.
    if size == 0 or not os.access(path, os.W_OK):
        return None
    size = min(size, _MOST_LOOKED_AT)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        library.mmap.restype = ctypes.c_void_p
        library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                                 ctypes.c_long]
        library.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
        library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, AttributeError):
        return None
    try:
        address = library.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
        if address is None or address == ctypes.c_void_p(-1).value:
            return None
        told = ctypes.create_string_buffer((size + _PAGE - 1) // _PAGE)
        code = library.mincore(address, size, told)
        library.munmap(address, size)
        return told.raw[: len(told)].translate(_LOWEST_BIT) if code == 0 else None
    finally:
        os.close(descriptor)
