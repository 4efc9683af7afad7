"""Dated TOML tables: how every reader in this package opens its own.

A table is a TOML file beside its reader. A large one has a compact JSON twin, because parsing the TOML of the GPU
table takes 11 ms and its JSON 0.5 ms. `python -m gpudoctor.matrices.compact` rewrites the twins; a test compares.
"""

import datetime
import importlib
import sys
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

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
    compact = FOLDER / f"{name}.json"
    if compact.exists():
        return msgspec.json.decode(compact.read_bytes(), type=kind)
    return msgspec.convert(read_toml(name), type=kind)
