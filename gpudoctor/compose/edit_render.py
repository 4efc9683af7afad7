"""New YAML text in the manner of the file around it: its indentation, quotes and line breaks."""

import json
import re
from typing import Any, NamedTuple

from gpudoctor.compose.tree import _scalar as meaning

#: Text that is itself without quotes, wherever it stands.
_PLAIN = re.compile(r"[A-Za-z_/.][A-Za-z0-9_/.@+-]*(?:[:=][A-Za-z0-9_/.@+-]+)*|[0-9]+[A-Za-z]+", re.ASCII)


class Manner(NamedTuple):
    """How a file is written.

    Attributes:
        step: Columns between a key and the keys below it.
        dash: Columns between a key and the dashes of the list below it.
        quote: ``'`` or ``"``.
        newline: what ends its lines.
        json: Whether keys and all text stand in double quotes.
    """

    step: int = 2
    dash: int = 2
    quote: str = "'"
    newline: str = "\n"
    json: bool = False


def inline(value: Any, manner: Manner) -> str:
    """Return a value on one line."""
    if isinstance(value, dict):
        inside = ", ".join(f"{inline(key, manner)}: {inline(each, manner)}" for key, each in value.items())
        return "{" + inside + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(each, manner) for each in value) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    if manner.json:
        return json.dumps(value, ensure_ascii=False)
    # Older readers take yes and on for booleans.
    if _PLAIN.fullmatch(value) and isinstance(meaning(value), str) and value.lower() not in ("yes", "no", "on", "off"):
        return value
    return quoted(value, manner.quote)


def quoted(value: str, quote: str) -> str:
    """Return text in the given quotes."""
    return json.dumps(value, ensure_ascii=False) if quote == '"' else "'" + value.replace("'", "''") + "'"


def block(key: str, value: Any, column: int, manner: Manner) -> list[str]:
    """Return the lines of a key and its value; lists of plain values stay on one line."""
    return [" " * column + line for line in _pair(key, value, manner)]


def _pair(key: str, value: Any, manner: Manner) -> list[str]:
    name = inline(key, manner)
    if isinstance(value, dict) and value:
        inside = [line for each in value.items() for line in _pair(*each, manner)]
        return [f"{name}:", *(" " * manner.step + line for line in inside)]
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        lines = [line for each in value for line in _item(each, manner)]
        return [f"{name}:", *(" " * manner.dash + line for line in lines)]
    return [f"{name}: {inline(value, manner)}"]


def _item(value: Any, manner: Manner) -> list[str]:
    if not isinstance(value, dict) or not value:
        return [f"- {inline(value, manner)}"]
    lines = [line for each in value.items() for line in _pair(*each, manner)]
    return [("- " if number == 0 else "  ") + line for number, line in enumerate(lines)]
