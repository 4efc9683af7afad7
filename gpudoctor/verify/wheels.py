"""One wheel: a zip archive whose members carry a CRC-32, and whose RECORD names a checksum of each."""

import base64
import csv
import hashlib
import os
import struct
import zipfile
import zlib
from email.message import Message
from email.parser import BytesParser

from gpudoctor.verify.archives import Inside
from gpudoctor.verify.digest import BUFFER, DIGITS, Tick

_LARGEST_DIRECTORY = 64 << 20
_LARGEST_TEXT = 32 << 20
_BAD = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error, RuntimeError, KeyError)


def open_wheel(path: str, handle: int) -> zipfile.ZipFile:
    """Open a wheel whose directory is of a size that can be.

    Raises:
        zipfile.BadZipFile: It is no zip archive, cut short, or its directory is not to be held.
    """
    size = os.fstat(handle).st_size
    tail = os.pread(handle, 65_557, max(0, size - 65_557))
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise zipfile.BadZipFile("it is cut short: the directory at its end is missing")
    directory = struct.unpack_from("<I", tail, end + 12)[0]
    wide = tail.rfind(b"PK\x06\x06", 0, end)
    if directory == 0xFFFFFFFF and wide >= 0 and len(tail) >= wide + 56:
        directory = struct.unpack_from("<Q", tail, wide + 40)[0]
    if directory > min(_LARGEST_DIRECTORY, size):
        raise zipfile.BadZipFile("its directory cannot be that long")
    return zipfile.ZipFile(open(handle, "rb", closefd=False))


def look_inside(path: str, handle: int, tick: Tick) -> Inside:
    """Read a wheel once and compare every member with its CRC and with RECORD."""
    try:
        with open_wheel(path, handle) as archive:
            problem = _members(archive, tick)
    except OSError as error:
        return Inside(unreadable=error.strerror or str(error))
    except _BAD as error:
        return Inside(problem=_words(error))
    return Inside(problem=problem, by="" if problem else "its own RECORD")


def _words(error: Exception) -> str:
    text = str(error)
    if text.startswith("it"):
        return text
    return "it is no whole zip archive" if isinstance(error, zipfile.BadZipFile) and "CRC" not in text else (
        "a member of it is damaged")  # fmt: skip


def _members(archive: zipfile.ZipFile, tick: Tick) -> str:
    record = _record(archive)
    if record is None:
        return "it has no RECORD, so it is no wheel"
    seen = set()
    for member in archive.infolist():
        if member.is_dir():
            continue
        seen.add(member.filename)
        algorithm, wanted = record.get(member.filename, ("", ""))
        digest = hashlib.new(algorithm, usedforsecurity=False) if algorithm in DIGITS else None
        before = 0
        try:
            with archive.open(member) as file:
                while part := file.read(BUFFER):
                    if digest is not None:
                        digest.update(part)
                    # Progress is counted in bytes of the archive.
                    done = min(member.compress_size, before + len(part))
                    tick(done - before)
                    before = done
        except _BAD:
            return f"{member.filename[:120]} in it is damaged"
        tick(member.compress_size - before)
        if digest is not None and wanted != base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode():
            return f"{member.filename[:120]} in it is not what RECORD says"
        beside = member.filename.endswith((".dist-info/RECORD", ".dist-info/RECORD.jws", ".dist-info/RECORD.p7s"))
        if digest is None and not beside:
            return f"{member.filename[:120]} in it has no checksum in RECORD"
    absent = sorted(set(record) - seen)
    return f"{absent[0][:120]} is missing in it" if absent else ""


def _record(archive: zipfile.ZipFile) -> dict[str, tuple[str, str]] | None:
    text = _text(archive, "RECORD")
    if text is None:
        return None
    found = {}
    for row in csv.reader(text.decode("utf-8", "surrogateescape").splitlines()):
        if row and not row[0].endswith("/"):
            algorithm, _, digest = (row[1] if len(row) > 1 else "").partition("=")
            found[row[0]] = (algorithm, digest)
    return found


def _text(archive: zipfile.ZipFile, name: str) -> bytes | None:
    """Return a file of the wheel's own dist-info folder; None when it is not there or far too large."""
    for member in archive.infolist():
        folder, _, base = member.filename.rpartition("/")
        if base == name and folder.endswith(".dist-info") and "/" not in folder:
            if member.file_size > _LARGEST_TEXT:
                return None
            with archive.open(member) as file:
                return file.read(_LARGEST_TEXT)
    return None


def metadata(path: str) -> Message | None:
    """Return a wheel's METADATA; None when it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open_wheel(path, handle) as archive:
            text = _text(archive, "METADATA")
    except (*_BAD, OSError):
        return None
    finally:
        os.close(handle)
    return BytesParser().parsebytes(text, headersonly=True) if text is not None else None
