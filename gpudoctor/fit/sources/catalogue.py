"""The shipped catalogue: common models with their configuration, so that a name alone can be judged.

`catalogue.toml` beside the package holds one ``[[model]]`` table per shape. Even importing a TOML parser
would cost more than the rest of a prediction, so the file keeps to what JSON also knows: one key a line,
strings, numbers, lists and inline tables. The names are indexed by their lines and only the table asked for
is read. A test holds this reader to what the TOML parser finds.
"""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from gpudoctor.fit.sources.names import loose

PATH = Path(__file__).parent.parent / "catalogue.toml"
_TABLE = "[[model]]\n"
_NAMES = re.compile(r"^(name|names|tags) = (.+)$", re.MULTILINE)


class Row(NamedTuple):
    """One model of the catalogue."""

    name: str
    """Its repository on the Hugging Face Hub."""
    config: dict[str, Any]
    """The facts of its config.json that decide its size."""
    parameters: int | None
    """As published; None when no source prints them to the last digit."""
    tags: tuple[str, ...]
    """Ollama tags of the same shape."""
    quantization: str
    """Of those tags."""
    layout: str
    """``ollama`` when Ollama quantized the files behind the tags itself, ``qat`` when Google did."""
    sizes: dict[str, int]
    """Published bytes of the files behind a name or tag."""
    source: str
    retrieved: str
    note: str
    """Why published and recomputed parameters differ, when they do."""
    counts: tuple[str, ...]
    """What the published count holds besides the model: ``draft`` (multi-token prediction), ``shared``
    (which has no embedding and output of its own), ``scales`` (of FP8), ``output`` (a tied matrix stored a second
    time)."""


class Index(NamedTuple):
    """All names, and where in the text each table lies."""

    names: dict[str, int]
    tables: list[str]
    shown: list[str]


@lru_cache(maxsize=1)
def index() -> Index:
    """Index the catalogue's names without parsing it."""
    tables = PATH.read_text(encoding="utf-8").split(_TABLE)[1:]
    names: dict[str, int] = {}
    loosely: dict[str, int] = {}
    shown = []
    for number, table in enumerate(tables):
        for key, value in _NAMES.findall(table):
            for name in json.loads(f"[{value}]" if key == "name" else value):
                low = name.lower()
                shown.append(low)
                names.setdefault(low, number)
                if key != "tags":
                    short = low.rpartition("/")[2]
                    loosely.setdefault(short, number)
                    loosely.setdefault(short.removeprefix("meta-"), number)
                    loosely.setdefault(loose(short), number)
    return Index({**loosely, **names}, tables, shown)


@lru_cache(maxsize=32)
def row(number: int) -> Row:
    """Parse one table."""
    table = _table(index().tables[number])
    return Row(
        name=table["name"],
        config=table["config"],
        parameters=table.get("parameters"),
        tags=tuple(table.get("tags", ())),
        quantization=table.get("quantization", "Q4_K_M"),
        layout=table.get("layout", ""),
        sizes=table.get("sizes", {}),
        source=table["source"],
        retrieved=str(table["retrieved"]),
        note=table.get("note", ""),
        counts=tuple(table.get("counts", ())),
    )


def _table(text: str) -> dict[str, Any]:
    """One table of the catalogue's own subset of TOML."""
    table: dict[str, Any] = {}
    for line in text.splitlines():
        key, equals, value = line.partition(" = ")
        if equals and key.isidentifier():
            if value.startswith("{"):
                value = re.sub(r'("[^"]*"|[A-Za-z_][\w-]*) = ', lambda m: f'"{m[1].strip(chr(34))}": ', value)
            table[key] = value if key == "retrieved" else json.loads(value)
    return table


def find(keys: list[str]) -> tuple[Row, str] | None:
    """The first row that one of these keys names, and the key."""
    names = index().names
    for key in keys:
        if key in names:
            return row(names[key]), key
    return None
