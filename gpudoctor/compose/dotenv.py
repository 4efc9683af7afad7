"""Files of variables, as Compose reads them: ``.env``, ``--env-file`` and a service's ``env_file``."""

import re
from collections.abc import Mapping
from pathlib import Path

from gpudoctor.compose.interpolation import Interpolator
from gpudoctor.compose.tree import ComposeError, clean, read_text
from gpudoctor.facts.compose import Place

_MAX_VARIABLES = 4096
_ENTRY = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.\-]*)[ \t]*(?:[=:][ \t]*|$)", re.MULTILINE)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}

Entries = dict[str, tuple[str | None, Place]]


def read_variables(path: Path, outer: Mapping[str, str]) -> Entries:
    """Return each variable with its value and place; None for a name alone, which is taken from outside.

    Raises:
        ComposeError: The file cannot be read, or a line is none.
    """
    text, shown = read_text(path), clean(str(path))
    found: Entries = {}
    known = dict(outer)
    for number, entry in _entries(text, shown):
        place = Place(file=shown, line=number)
        name, raw, quote = entry
        if raw is None:
            found[name] = (outer.get(name), place)
            continue
        value = raw
        if quote != "'":
            value = Interpolator(known).text(raw, place)
        found[name] = (value, place)
        # What the shell sets wins over the file, for the file's own references, too.
        known.setdefault(name, value)
        if len(found) > _MAX_VARIABLES:
            raise ComposeError("it sets more variables than any file of them", place)
    return found


def _entries(text: str, name: str) -> list[tuple[int, tuple[str, str | None, str]]]:
    found: list[tuple[int, tuple[str, str | None, str]]] = []
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ENTRY.match(line)
        if match is None:
            raise ComposeError("it is no NAME=VALUE", Place(file=name, line=number))
        if not match[0].rstrip(" \t").endswith(("=", ":")):
            found.append((number, (match[1], None, "")))
            continue
        rest = line[match.end() :]
        quote = rest[:1]
        if quote in ("'", '"') and quote:
            value, at = _quoted(lines, at, rest, quote, Place(file=name, line=number))
            found.append((number, (match[1], value, quote)))
        else:
            value = re.split(r"(?:^|[ \t])#", rest, maxsplit=1)[0].strip()
            found.append((number, (match[1], value, "")))
    return found


def _quoted(lines: list[str], at: int, rest: str, quote: str, place: Place) -> tuple[str, int]:
    parts: list[str] = []
    body = rest[1:]
    while True:
        end = _end(body, quote)
        if end >= 0:
            parts.append(body[:end])
            value = "\n".join(parts)
            return (_unescaped(value) if quote == '"' else value), at
        parts.append(body)
        if at >= len(lines):
            raise ComposeError("its quotation mark is never closed", place)
        body = lines[at]
        at += 1


def _end(body: str, quote: str) -> int:
    at = 0
    while at < len(body):
        if body[at] == "\\" and quote == '"':
            at += 2
            continue
        if body[at] == quote:
            return at
        at += 1
    return -1


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), value)
