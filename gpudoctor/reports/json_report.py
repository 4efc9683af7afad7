"""JSON: the report for programs, and the one document that stands in for a report that could not be made."""

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gpudoctor.facts.encoding import encoded

if TYPE_CHECKING:
    from gpudoctor.facts.snapshot import Snapshot
    from gpudoctor.reports.report import Report


class ErrorDetail(msgspec.Struct, frozen=True):
    """What was wrong, where, and what to do."""

    message: str
    where: str
    hint: str


class ErrorDocument(msgspec.Struct, frozen=True, kw_only=True):
    """``gpudoctor.error/1``: what ``--json`` prints with exit code 2."""

    schema: Literal["gpudoctor.error/1"] = "gpudoctor.error/1"
    error: ErrorDetail
    exit_code: Literal[2] = 2


def encode(document: msgspec.Struct | dict[str, Any]) -> str:
    """Return a document as indented JSON without a final newline, ASCII only so that any console takes it."""
    return escape(msgspec.json.format(encoded(document), indent=1).decode("utf-8"))


def render(report: "Report", facts: "Snapshot") -> str:
    """Return a report as its JSON document."""
    return encode(report) + "\n"


def escape(text: str) -> str:
    """Return JSON text in ASCII alone."""
    # DEL is ASCII and no text.
    plain = text.isascii() and "\x7f" not in text
    return text if plain else "".join(c if ord(c) < 127 else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
