"""A YAML file as a tree of values, each with its place; what cannot be read is one line with file and line number.

Compose's own library reads YAML as Go does: ``yes`` and ``on`` are text, ``22:22`` is text, ``0644`` is octal.
"""

import contextlib
import functools
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gpudoctor.facts.compose import Place

#: No Compose file is larger; what is has taken a wrong turn.
MAX_FILE_BYTES = 1 << 20
MAX_VALUES = 100_000
MAX_DEPTH = 60

Value = Any
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]{1,16}|0[bB][01]{1,64}|0[oO][0-7]{1,22}|[0-9]{1,20})", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,300}|[0-9]{1,300}(?:\.[0-9]{0,300})?)(?:[eE][-+]?[0-9]{1,5})?", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_TOLD = re.compile(r"[0-9]+(?:\.[0-9]+)?|true|false|null", re.ASCII)


class ComposeError(Exception):
    """Why a project cannot be read: what is wrong, where, and what to do; one line."""

    def __init__(self, message: str, place: Place | str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = clean(message), hint
        self.where = clean(place if isinstance(place, str) else f"{place.file}:{place.line}")


class Node(NamedTuple):
    """A value and where it stands: a mapping's value at its key. ``tag`` is ``!reset``, ``!override`` or empty.

    ``value`` is a dict of str to Node, a list of Node, or a scalar. ``written`` is a scalar as it stands in the file,
    before interpolation.
    """

    value: Value
    place: Place
    tag: str = ""
    written: str | None = None

    @property
    def kind(self) -> str:
        """What it is, for people."""
        if isinstance(self.value, bool):
            return "a boolean"
        kinds = {dict: "a mapping", list: "a list", str: "text", int: "a number", float: "a number"}
        return kinds.get(type(self.value), "empty")


def clean(text: str) -> str:
    """Return text that UTF-8 can hold: bytes of file names that are none, and lone surrogates, are replaced."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    raw = text.encode("utf-8", "surrogatepass")
    with contextlib.suppress(UnicodeEncodeError):
        raw = os.fsencode(text)
    return raw.decode("utf-8", "replace")


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        ComposeError: It is missing, no regular file, too large, or no UTF-8.
    """
    try:
        # Asked first: opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ComposeError("it is no regular file", str(path), "name a Compose file")
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ComposeError(f"it cannot be read: {getattr(error, 'strerror', None) or error}", str(path)) from None
    if len(data) > MAX_FILE_BYTES:
        line = data.count(b"\n") + 1
        raise ComposeError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB, so it is no Compose file",
                           Place(file=str(path), line=line))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Place(file=str(path), line=data.count(b"\n", 0, error.start) + 1)
        raise ComposeError("it is no UTF-8 text", place, "save it as UTF-8") from None


@functools.lru_cache(maxsize=2)
def whole(text: str, name: str) -> tuple[Node, ...]:
    """Return all documents of a text at once; who edits asks for the same text again and again."""
    return tuple(documents(text, name))


def documents(text: str, name: str) -> Iterator[Node]:
    """Yield every document of a YAML text as a tree.

    Raises:
        ComposeError: It is no YAML, has a key twice, or unfolds to more than any Compose file holds.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    name = clean(name)
    budget = _Budget(name)
    try:
        constructor, _ = YAML(typ="safe", pure=True).get_constructor_parser(text)
        composer = constructor.composer
        while composer.check_node():
            yield budget.node(composer.get_node(), 1)
    except ComposeError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(str(error.problem or error.context or "it is no YAML").split())[:200]
        if "'\\t'" in words:
            words = "a tab stands where YAML wants spaces"
        place = Place(file=name, line=mark.line + 1 if mark else 1, column=mark.column + 1 if mark else 1)
        raise ComposeError(words, place) from None
    except RecursionError:
        raise ComposeError("it is nested too deeply for a Compose file", Place(file=name, line=1)) from None
    except (YAMLError, ValueError, AttributeError, TypeError, IndexError, KeyError, AssertionError) as error:
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        first = next(iter(str(error).splitlines()), "")[:120]
        raise ComposeError(f"it is no YAML: {first}", Place(file=name, line=line)) from None


class _Budget:
    """Unfolds aliases and merge keys within bounds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = MAX_VALUES

    def _place(self, node: Any) -> Place:
        return Place(file=self._name, line=node.start_mark.line + 1, column=node.start_mark.column + 1)

    def node(self, node: Any, depth: int, key: Any = None) -> Node:
        place = self._place(node if key is None else key)
        self._left -= 1
        if self._left < 0:
            raise ComposeError(f"its aliases unfold to more than {MAX_VALUES} values", place)
        if depth > MAX_DEPTH:
            raise ComposeError(f"it is nested more than {MAX_DEPTH} levels deep", place)
        tag = str(node.tag or "")
        tag = tag if tag in ("!reset", "!override") else ""
        if node.id == "mapping":
            return Node(self._mapping(node, depth), place, tag)
        if node.id == "sequence":
            return Node([self.node(each, depth + 1) for each in node.value], place, tag)
        text = clean(str(node.value))
        # Only a tag makes text of what looks like a number.
        told = str(node.tag or "").endswith(":str") and _TOLD.fullmatch(text)
        return Node(text if node.style is not None or told else _scalar(text), place, tag, text)

    def _mapping(self, node: Any, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        merged: list[Node] = []
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.id != "scalar":
                raise ComposeError("a key must be a word, not a list or mapping", self._place(key))
            name = clean(str(key.value))
            if name in seen:
                raise ComposeError(f"the key {name[:60]!r} stands here again: it was set in line {seen[name]}",
                                   self._place(key), "keep one of them")
            seen[name] = key.start_mark.line + 1
            if name == "<<" and key.style is None:
                merged += self._merged(value, depth)
            else:
                found[name] = self.node(value, depth + 1, key)
        for each in merged:
            for name, inner in each.value.items():
                found.setdefault(name, inner)
        return found

    def _merged(self, value: Any, depth: int) -> list[Node]:
        parts = value.value if value.id == "sequence" else [value]
        nodes = [self.node(part, depth + 1) for part in parts]
        for each in nodes:
            if not isinstance(each.value, dict):
                raise ComposeError("<< merges mappings only", each.place, "name the anchor of a mapping")
        return nodes


def _scalar(text: str) -> Value:
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    # Go reads 1_000 as a number, too.
    bare = text.replace("_", "") if text[:1].isdigit() or text[:1] in "+-" else text
    if _INTEGER.fullmatch(bare):
        digits = bare.lstrip("+-")
        sign = -1 if bare.startswith("-") else 1
        try:
            octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
            return sign * (int(digits, 8) if octal else int(digits, 0))
        except ValueError:
            pass
    number = float(bare) if _FLOAT.fullmatch(bare) else None
    return text if number is None or math.isinf(number) else number


def text_of(value: Value) -> str:
    """Return a scalar as Go prints it: ``1.0`` is ``1``."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e21:
            return str(int(value))
        return repr(value)
    return str(value)
