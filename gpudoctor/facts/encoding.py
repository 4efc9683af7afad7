"""JSON of facts and findings, whatever bytes other people gave their files for names."""

from typing import Any

import msgspec


def encoded(document: Any) -> bytes:
    """Return a document as compact JSON in UTF-8. A byte that is no text is written out (backslash, udcff)."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        return msgspec.json.encode(_as_text(msgspec.to_builtins(document)))


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_as_text(key): _as_text(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_text(inner) for inner in value]
    return value
