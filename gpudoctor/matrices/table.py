"""Dated TOML tables: how every reader in this package opens its own.

A table is a TOML file beside its reader. A large one has a compact JSON twin, because parsing the TOML of the GPU
table takes 11 ms and its JSON 0.5 ms. `python -m gpudoctor.matrices.compact` rewrites the twins; a test compares.
"""

import datetime
import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from gpudoctor.matrices import MATRICES_DATE, TABLES

Confidence = Literal["verified", "corroborated", "high", "medium", "low", "knowledge", "unverified", "unknown"]
"""How a row was established.

`verified`: read in the artefact or in the vendor's own table. `corroborated`: several independent copies of the
vendor's table. `high`, `medium`, `low`: secondary sources. `knowledge`: a datasheet figure not read again.
"""

FOLDER = Path(__file__).parent


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where rows come from; they name it by `key`."""

    key: str
    title: str
    url: str


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every table says about itself. `retrieved` is the day its sources were read."""

    schema: Literal[1]
    retrieved: datetime.date
    sources: tuple[Source, ...]

    def source(self, key: str) -> Source:
        """Return the source a row names. `KeyError` for a key the table lacks, which a test excludes."""
        for source in self.sources:
            if source.key == key:
                return source
        raise KeyError(key)


TableT = TypeVar("TableT", bound=Table)


class Folders:
    """Where tables lie beside the shipped ones: the command line sets ``newer`` to the user's data folder."""

    newer: Path | None = None


FOLDERS = Folders()


class _Any(msgspec.Struct, frozen=True, kw_only=True):
    """What every table has, for those whose reader is elsewhere."""

    schema: Literal[1]
    retrieved: datetime.date
    sources: tuple[Source, ...]


def kind_of(name: str) -> type[Any]:
    """Return the type that a table's reader decodes, found in the module of its name."""
    try:
        module = importlib.import_module(f"gpudoctor.matrices.{name}")
    except ModuleNotFoundError:
        return _Any
    own = (value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__)
    return next((value for value in own if issubclass(value, Table)), _Any)


def newer_copy(name: str) -> bytes | None:
    """Return a newer copy that the user installed, None without one that is unchanged and newer than the shipped."""
    if FOLDERS.newer is None:
        return None
    try:
        data = (FOLDERS.newer / f"{name}.json").read_bytes()
        told = (FOLDERS.newer / f"{name}.sha256").read_text(encoding="ascii").strip()
        if hashlib.sha256(data).hexdigest() != told:
            return None
        when = msgspec.json.decode(data, type=_Any).retrieved
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return data if when > _shipped_date(name) else None


def date_in_use() -> str:
    """Return the newest day on which sources of a table in use were read, as ISO text."""
    if FOLDERS.newer is None or not FOLDERS.newer.is_dir():
        return MATRICES_DATE
    copies = (newer_copy(name) for name in TABLES)
    dates = [msgspec.json.decode(copy, type=_Any).retrieved.isoformat() for copy in copies if copy is not None]
    return max([MATRICES_DATE, *dates])


def _shipped_date(name: str) -> datetime.date:
    compact = FOLDER / f"{name}.json"
    if compact.exists():
        return msgspec.json.decode(compact.read_bytes(), type=_Any).retrieved
    return msgspec.convert(read_toml(name), type=_Any).retrieved


def content(name: str) -> dict[str, Any]:
    """Return the plain content of the table in use, dates as ISO text where it is a newer copy."""
    copy = newer_copy(name)
    if copy is None:
        return read_toml(name)
    found: dict[str, Any] = msgspec.json.decode(copy)
    return found


def read_toml(name: str) -> dict[str, Any]:
    """Return the plain content of a table, for comparing and listing."""
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    with (FOLDER / f"{name}.toml").open("rb") as file:
        content: dict[str, Any] = tomllib.load(file)
    return content


def load(name: str, kind: type[TableT]) -> TableT:
    """Read the table `name`. `msgspec.ValidationError` names the path of a field that is wrong.

    Callers cache the result: a table is parsed when it is first asked for, and once.
    """
    copy = newer_copy(name)
    if copy is not None:
        try:
            return msgspec.json.decode(copy, type=kind)
        except msgspec.MsgspecError:
            pass  # Made for another gpudoctor: the shipped table is what this one reads.
    compact = FOLDER / f"{name}.json"
    if compact.exists():
        return msgspec.json.decode(compact.read_bytes(), type=kind)
    return msgspec.convert(read_toml(name), type=kind)
