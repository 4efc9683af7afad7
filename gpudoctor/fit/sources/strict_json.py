"""JSON from outside: bounded in size and depth, without NaN or double keys."""

import json
from pathlib import Path
from typing import Any

from gpudoctor.fit.model import Unusable

LARGEST = 32 << 20
"""Bytes a configuration or index may have."""


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """An object from JSON bytes; raises `Unusable` for anything else, nesting, NaN or duplicate keys."""
    if len(data) > LARGEST:
        raise Unusable(f"{len(data)} bytes are too many for a model's JSON file", where=where)
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_constant=no_constant, object_pairs_hook=unique)
    except RecursionError:
        raise Unusable("nested too deeply", where=where) from None
    except ValueError as error:
        raise Unusable(f"not valid JSON: {str(error)[:120]}", where=where) from None
    if not isinstance(found, dict):
        raise Unusable("JSON, but no object", where=where)
    return found


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file; raises `Unusable` like `parse_json`, and when the file cannot be read."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise Unusable(f"{size} bytes are too many for a model's JSON file", where=str(path))
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror or error}", where=str(path)) from None
    return parse_json(data, str(path))


def no_constant(text: str) -> Any:
    """Refuse NaN and infinities."""
    raise ValueError(f"{text} is no number")


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that has a key twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found
