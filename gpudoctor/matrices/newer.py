"""Newer copies of the tables, for sites without network: one bundle, guarded by a checksum beside it.

A bundle is JSON, ``{"schema": "gpudoctor.matrices-bundle/1", "tables": {name: content}}``; FILE.sha256 is what
``sha256sum FILE`` prints. Tables are kept in the user's data folder, each with its checksum, and used only while newer
than the shipped ones, of the form that this gpudoctor reads, and unchanged.
"""

import datetime
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec

from gpudoctor.matrices import TABLES
from gpudoctor.matrices import table as tables
from gpudoctor.matrices.table import Source

SCHEMA = "gpudoctor.matrices-bundle/1"
_MOST_BYTES = 16 * 1024 * 1024


class BundleError(Exception):
    """A bundle that is not taken; one line for the user, and a hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a bundle."""

    schema: Literal["gpudoctor.matrices-bundle/1"]
    tables: dict[str, dict[str, Any]]


def write_bundle(file: Path) -> str:
    """Write the tables in use as a bundle with its checksum beside it, and return the checksum."""
    data = msgspec.json.encode({"schema": SCHEMA, "tables": {name: tables.content(name) for name in TABLES}}) + b"\n"
    digest = hashlib.sha256(data).hexdigest()
    _put(file, data)
    _put(file.with_name(f"{file.name}.sha256"), f"{digest}  {file.name}\n".encode())
    return digest


def install(file: Path, folder: Path) -> list[str]:
    """Take the tables of a bundle that are newer than those in use; return their names.

    Raises:
        BundleError: The bundle or its checksum is missing, broken or too large, or a table is not of our form.
    """
    data = _read(file, _MOST_BYTES)
    _compare(data, file)
    try:
        bundle = msgspec.json.decode(data, type=Bundle)
    except (msgspec.DecodeError, RecursionError) as error:
        hint = "gpudoctor matrices --bundle FILE makes one"
        raise BundleError(f"no bundle of tables: {str(error)[:200]}", hint) from None
    unknown = sorted(set(bundle.tables) - set(TABLES))
    if unknown:
        raise BundleError(f"it has a table {unknown[0][:40]!r} that this gpudoctor does not read", "upgrade gpudoctor")
    taken: list[tuple[str, bytes]] = []
    for name, content in bundle.tables.items():
        encoded = msgspec.json.encode(content)
        problem = _problem(name, encoded)
        if problem is not None:
            raise BundleError(f"table {name}: {problem[:200]}", "it needs another version of gpudoctor")
        if _retrieved(content) > _retrieved(tables.content(name)):
            taken.append((name, encoded))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, encoded in taken:
            # The checksum goes first: a table without its own is never read.
            _put(folder / f"{name}.sha256", hashlib.sha256(encoded).hexdigest().encode() + b"\n")
            _put(folder / f"{name}.json", encoded)
    except OSError as error:
        raise BundleError(f"cannot write to {folder}: {error.strerror or error}") from None
    return [name for name, _ in taken]


def origin(name: str) -> str:
    """Return where the table in use comes from: ``shipped``, or the newer copy's path."""
    copy = tables.newer_copy(name)
    return "shipped" if copy is None or tables.FOLDERS.newer is None else str(tables.FOLDERS.newer / f"{name}.json")


def _problem(name: str, encoded: bytes) -> str | None:
    """Why the typed reader would not take it, None when it does."""
    kind = tables.kind_of(name)
    try:
        read = msgspec.json.decode(encoded, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        return str(error)
    found: tuple[Source, ...] = read.sources
    return None if found else "it names no source"


def _retrieved(content: dict[str, Any]) -> datetime.date:
    value = content["retrieved"]
    return value if isinstance(value, datetime.date) else datetime.date.fromisoformat(str(value))


def _compare(data: bytes, file: Path) -> None:
    beside = file.with_name(f"{file.name}.sha256")
    try:
        words = _read(beside, 4096).decode("utf-8", "replace").split()
    except BundleError:
        raise BundleError(f"its checksum {beside.name} is not beside it", "copy both files") from None
    told = words[0].lower() if words else ""
    if not re.fullmatch(r"[0-9a-f]{64}", told):
        raise BundleError(f"{beside.name} holds no SHA-256 checksum", "sha256sum FILE > FILE.sha256 where it was made")
    if told != hashlib.sha256(data).hexdigest():
        raise BundleError("its checksum is another: the file was changed or cut short", "copy it again")


def _read(file: Path, most: int) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror or error}") from None
    if len(data) > most:
        raise BundleError(f"larger than {most // 2**20 or 1} MiB, so it is no bundle of tables")
    return data


def _put(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
