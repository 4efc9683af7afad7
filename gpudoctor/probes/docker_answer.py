"""Looking into an engine's JSON: every look says which type it expects, and a wrong one names its place."""

from typing import Any

MAX_TEXT = 4096
_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a number", bool: "true or false"}


class Unexpected(Exception):
    """The engine's answer has another form than Docker's API; the message names the place."""


class Answer:
    """One JSON object. What is missing or null is the default; texts are cut at 4096 characters."""

    def __init__(self, value: Any, place: str = "") -> None:
        if not isinstance(value, dict):
            raise Unexpected(f"{place or 'the answer'} is no object")
        self._value: dict[str, Any] = value
        self._place = place

    def _get(self, key: str, kind: type) -> Any:
        value = self._value.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Unexpected(f"{self._place}{key} is not {_KINDS[kind]}")
        return value

    def has(self, key: str) -> bool:
        """True when the engine says something under this name, be it null."""
        return key in self._value

    def text(self, key: str, default: str = "") -> str:
        """Return a text."""
        value = self._get(key, str)
        return default if value is None else value[:MAX_TEXT]

    def number(self, key: str) -> int | None:
        """Return an integer that fits 64 bits."""
        value = self._get(key, int)
        if value is not None and not -(1 << 63) <= value < 1 << 63:
            raise Unexpected(f"{self._place}{key} is out of range")
        return None if value is None else int(value)

    def flag(self, key: str) -> bool:
        """Return a truth value, false when missing."""
        return bool(self._get(key, bool))

    def part(self, key: str) -> "Answer":
        """Return an object; empty when missing."""
        return Answer(self._get(key, dict) or {}, f"{self._place}{key}.")

    def parts(self, key: str, limit: int = 1024) -> list["Answer"]:
        """Return a list of objects."""
        return [Answer(each, f"{self._place}{key}[].") for each in (self._get(key, list) or [])[:limit]]

    def texts(self, key: str, limit: int = 1024) -> list[str]:
        """Return a list of texts."""
        found = (self._get(key, list) or [])[:limit]
        if not all(isinstance(each, str) for each in found):
            raise Unexpected(f"{self._place}{key}[] is not a text")
        return [each[:MAX_TEXT] for each in found]

    def lists(self, key: str, limit: int = 64) -> list[list[str]]:
        """Return a list of lists of texts."""
        found = (self._get(key, list) or [])[:limit]
        return [Answer({key: each}, self._place).texts(key, limit) for each in found]

    def keys(self, limit: int = 1024) -> list[str]:
        """Return the names in it."""
        return [key[:MAX_TEXT] for key in list(self._value)[:limit]]
