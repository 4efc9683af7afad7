"""English sentences that already hold their values, said in the language in use.

Why something failed or is not known is put into words where it arises: in a child process, in a recorded snapshot, in
another node's report. What comes from there is text. tools/messages.py collects the templates of those texts
(``{name} is no wheel``), and here a text is known again by its template: nothing has to be carried along with it.
"""

import string
from functools import lru_cache
from typing import NamedTuple

from gpudoctor.reports.language import catalogue_texts, spoken, tell

#: No reason is longer, and what is pasted or logged is not ours to translate.
_LONGEST = 2000
#: Fewer letters than this in a template would find themselves in anything.
_FEWEST_LETTERS = 6
#: A reason in a reason in a reason.
_DEEPEST = 3
#: What the C library, Python and the reader of command lines say, which reaches people inside our sentences.
FOREIGN = (
    "No such file or directory", "Permission denied", "Is a directory", "Not a directory", "No space left on device",
    "File exists", "Read-only file system", "Connection refused", "Connection reset by peer", "No route to host",
    "Operation not permitted", "File name too long", "Too many levels of symbolic links", "Input/output error",
    "Name or service not known", "Disk quota exceeded", "timed out", "named hardware",
    "could not find expected ':'", "mapping values are not allowed here", "found unexpected end of stream",
    "found character {character} that cannot start any token", "expected {wanted}, but found {found}",
    "found undefined alias {name}", "JSON is malformed: {why}", "Input data was truncated",
    "Object missing required field {name}", "Expected {wanted}, got {found}", "Expecting value: {place}",
    "Expecting property name enclosed in double quotes: {place}", "Invalid value (at {place})",
    "No such command {name}.", "No such option: {name}", "No such option: {name} Did you mean {near}?",
    "No such option: {name} (Possible options: {near})", "Missing argument {name}.", "Missing option {name}.",
    "Missing command.", "Option {name} requires an argument.", "Option {name} does not take a value.",
    "Invalid value for {name}: {why}", "Invalid value: {why}", "{value} is not a valid integer.",
    "{value} is not a valid float.", "{value} is not in the range {range}.", "{value} is not one of {values}.",
    "{value} is not a valid float range.", "{value} is not a valid integer range.",
    "Got unexpected extra argument ({value})", "Got unexpected extra arguments ({value})",
)  # fmt: skip


#: As string.Formatter takes texts apart: words, the name of the value behind them, its format, its conversion.
_Piece = tuple[str, str | None, str | None, str | None]


class _Template(NamedTuple):
    """One text of the catalogue, taken apart: words[0] value words[1] value ... words[n]."""

    text: str
    words: tuple[str, ...]
    names: tuple[str, ...]
    longest: str


def retold(text: str) -> str:
    """Return the text in the language in use; as it is where no template has made it."""
    if spoken() == "en" or not text or len(text) > _LONGEST or " " not in text:
        return text
    return _retold(spoken(), text, 0)


@lru_cache(maxsize=512)
def _retold(language: str, text: str, depth: int) -> str:
    if " " not in text or depth > _DEEPEST:
        return text
    if (whole := tell(text)) != text:
        return whole
    found = _template_of(language, text)
    if found is None:
        return _in_parts(language, text, depth)
    from gpudoctor.reports.korean import settle

    template, values = found
    told = {name: _retold(language, value, depth + 1) for name, value in values.items()}
    return settle(_filled(tell(template.text), told))


def _in_parts(language: str, text: str, depth: int) -> str:
    """Return a text with those of its parts said that are known: ``name: why``, ``one; other``."""
    for mark in ("; ", ": ", " ("):
        head, between, rest = text.partition(mark)
        end = ")" if mark == " (" and rest.endswith(")") else ""
        if not between or (mark == " (" and not end):
            continue
        inner = rest.removesuffix(end) if end else rest
        said = _retold(language, head, depth) + between + _retold(language, inner, depth) + end
        if said != text:
            return said
    return text


def _template_of(language: str, text: str) -> "tuple[_Template, dict[str, str]] | None":
    """Return the template with the most words of its own that can have made the text, and its values."""
    for template in _templates(language):
        if template.longest in text and (values := _values(template, text)) is not None:
            return template, values
    return None


def _values(template: _Template, text: str) -> dict[str, str] | None:
    first, *between, last = template.words
    if not (text.startswith(first) and text.endswith(last)):
        return None
    at, end = len(first), len(text) - len(last)
    values: dict[str, str] = {}
    for name, words in zip(template.names, [*between, ""], strict=True):
        # The last value reaches to the last words; none is empty.
        stop = text.find(words, at + 1, end) if words else end
        if stop <= at or stop > end or values.get(name, text[at:stop]) != text[at:stop]:
            return None
        values[name] = text[at:stop]
        if at == 0 and ": " in values[name].removesuffix(": "):
            # What stands before a colon is a place: the sentence begins behind it.
            return None
        at = stop + len(words)
    return values


def _filled(template: str, values: dict[str, str]) -> str:
    pieces = string.Formatter().parse(template)
    return "".join(words + (values.get(name, "?") if name else "") for words, name, _, _ in pieces)


@lru_cache(maxsize=2)
def _templates(language: str) -> tuple[_Template, ...]:
    """Return the catalogue's texts with values, those with the most words first."""
    found = []
    for text in catalogue_texts():
        if "{" not in text:
            continue
        try:
            pieces = list(string.Formatter().parse(text))
        except ValueError:
            continue
        words, names = _taken_apart(pieces)
        # Two values side by side cannot be told apart.
        if names and all(words[1:-1]) and sum(c.isalpha() for c in "".join(words)) >= _FEWEST_LETTERS:
            found.append(_Template(text, words, names, max(words, key=len)))
    return tuple(sorted(found, key=lambda each: -sum(map(len, each.words))))


def _taken_apart(pieces: "list[_Piece]") -> tuple[tuple[str, ...], tuple[str, ...]]:
    words, names = [""], []
    for literal, name, _, _ in pieces:
        words[-1] += literal
        if name is not None:
            names.append(name)
            words.append("")
    return tuple(words), tuple(names)
