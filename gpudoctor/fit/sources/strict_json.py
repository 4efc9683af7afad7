"""JSON from outside: bounded in size, depth and numbers before anything is built from it."""

import json
from pathlib import Path
from typing import Any

from gpudoctor.fit.model import Unusable

LARGEST = 32 << 20
"""Bytes a configuration or index may have."""
DEEPEST = 64
"""Levels it may nest."""


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """An object from JSON bytes; raises `Unusable` for anything else, nesting, NaN or duplicate keys."""
    if len(data) > LARGEST:
        raise Unusable(f"{len(data)} bytes are too many for a model's JSON file", where=where)
    if _depth(data) > DEEPEST:
        raise Unusable(f"nested deeper than {DEEPEST} levels", where=where)
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
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


def _depth(data: bytes) -> int:
    """An upper bound of the nesting: brackets inside strings count too."""
    deepest = level = 0
    if data.count(b"[") + data.count(b"{") <= DEEPEST:
        return 0
    inside = escaped = False
    for byte in data:
        if inside:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                inside = False
        elif byte == 0x22:
            inside = True
        elif byte in b"[{":
            level += 1
            deepest = max(deepest, level)
            if deepest > DEEPEST:
                return deepest
        elif byte in b"]}":
            level -= 1
    return deepest


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found
