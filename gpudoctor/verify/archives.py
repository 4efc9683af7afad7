"""Archives that carry their own checksums: saved images, gzip and zstd files; and tar archives that carry none."""

import gzip
import hashlib
import importlib
import os
import zlib
from typing import Any, BinaryIO, NamedTuple

from gpudoctor.verify.digest import Tick, buffer
from gpudoctor.verify.images import LARGEST_JSON, Content, judge_image
from gpudoctor.verify.tar import Broken, Tar
from gpudoctor.verify.zstd import frames

#: Of all small members together; documents of an image have a few kB each.
_MOST_KEPT = 64 << 20


class Inside(NamedTuple):
    """What an archive's own checksums say. ``by`` empty: it has none that covers its contents."""

    problem: str = ""
    by: str = ""
    unreadable: str = ""
    kind: str = ""


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, tick: Tick) -> None:
        self._file, self._tick = file, tick

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._tick(len(data))
        return data

    def readinto(self, view: memoryview) -> int:
        count: int = self._file.readinto(view)  # type: ignore[attr-defined]
        self._tick(count)
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        """Leave the file to its owner."""

    def flush(self) -> None:
        """Nothing is written."""


def look_inside(handle: int, kind: str, tick: Tick) -> Inside:
    """Read an open archive once and compare it with its own checksums."""
    with os.fdopen(os.dup(handle), "rb", buffering=0) as raw:
        file = _Counted(raw, tick)
        if kind == "tar":
            return _tar(file, "")
        if kind == "gzip":
            with gzip.GzipFile(fileobj=file) as plain:
                return _compressed(plain, "gzip", "its own CRC-32")
        seen = frames(raw.fileno())
        if seen.problem or seen.unreadable:
            return Inside(problem=seen.problem, unreadable=seen.unreadable)
        opener = _zstd()
        if opener is None:
            return Inside(unreadable="no zstd library is here: pip install zstandard, or unpack it with zstd -d")
        with opener(file) as plain:
            return _compressed(plain, "zstd", "its own checksum" if seen.checked else "")


def _zstd() -> Any:
    """Return what opens a zstd file; None where no library for it is installed."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name).ZstdFile
        except ImportError:
            continue
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        return None
    return lambda file: zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)


def _compressed(plain: Any, kind: str, by: str) -> Inside:
    view = buffer()
    try:
        start = plain.read(512)
        rest = _Behind(start, plain)
        if start[257:262] == b"ustar":
            found = _tar(rest, kind)
            return found if found.problem or found.by else found._replace(by=by)
        while rest.readinto(view):
            pass
    except (EOFError, OSError, zlib.error, ValueError) as error:
        return _damaged(error)
    except Exception as error:
        # Each zstd library has an exception of its own: of _zstd, backports.zstd or zstandard.backend_c.
        if "zst" not in type(error).__module__:
            raise
        return Inside(problem="its contents cannot be unpacked: it is damaged or cut short")
    return Inside(by=by)


def _damaged(error: Exception) -> Inside:
    if isinstance(error, OSError) and error.errno is not None:
        return Inside(unreadable=error.strerror or str(error))
    if isinstance(error, EOFError):
        return Inside(problem="it is cut short")
    return Inside(problem="its contents do not agree with its own checksum, or cannot be unpacked")


class _Behind:
    """What was read already, then the rest."""

    def __init__(self, start: bytes, rest: Any) -> None:
        self._start, self._rest = start, rest

    def readinto(self, view: memoryview) -> int:
        if self._start:
            size = min(len(view), len(self._start))
            view[:size] = self._start[:size]
            self._start = self._start[size:]
            return size
        count: int = self._rest.readinto(view)
        return count


def _tar(file: "_Counted | _Behind", packed: str) -> Inside:
    """Read a tar archive: an image's members are compared, any other archive is only read to its end."""
    members: dict[str, Content] = {}
    kept: dict[str, bytes] = {}
    room = _MOST_KEPT
    archive = Tar(file.readinto, buffer())
    try:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if member.kind in "12":
                members[name] = Content(0, "", member.link if member.kind == "2" else "/" + member.link)
            elif member.kind == "0":
                digest = hashlib.sha256(usedforsecurity=False)
                parts = []
                keep = member.size <= min(LARGEST_JSON, room) and _maybe_json(name)
                for part in archive.contents():
                    digest.update(part)
                    if keep:
                        parts.append(bytes(part))
                if keep:
                    kept[name] = b"".join(parts)
                    room -= member.size
                members[name] = Content(member.size, digest.hexdigest())
    except Broken as error:
        return Inside(problem=str(error), kind="archive")
    verdict = judge_image(members, kept.get)
    if verdict is None:
        return Inside(kind="archive")
    if verdict.problems:
        more = f", and {len(verdict.problems) - 3} more" if len(verdict.problems) > 3 else ""
        return Inside(problem="; ".join(verdict.problems[:3]) + more, kind="image archive")
    return Inside(by="the digests inside it" if verdict.compared else "", kind="image archive")


def _maybe_json(name: str) -> bool:
    return name.endswith(".json") or name == "oci-layout" or name.startswith("blobs/sha256/")
