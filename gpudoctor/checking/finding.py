"""What a check says: a status, a subject, a sentence with its values, what was seen, and the way out."""

from collections.abc import Iterable
from typing import Literal

import msgspec

Status = Literal["fail", "warn", "unknown", "info", "skip", "pass"]

#: The order of results everywhere.
STATUSES: tuple[Status, ...] = ("fail", "warn", "unknown", "info", "skip", "pass")

#: Values that a template may be filled with. Formatting (units, lists) is the template's matter.
Value = str | int | float | bool | None | tuple[str | int, ...]


class Evidence(msgspec.Struct, frozen=True):
    """One thing that was seen: what it is, its value, and where it was read."""

    what: str
    value: Value
    source: str


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way out, or one step of it. ``text`` and ``command`` are templates over the step's or finding's values.

    ``risk`` says what the command disturbs ("restarts the service").
    """

    text: str
    command: str | None = None
    risk: str | None = None
    params: dict[str, Value] = {}


class Location(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in a file; line and column count from 1."""

    file: str
    line: int | None = None
    column: int | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a check yields. ``subject`` is ``kind:name`` (``host``, ``gpu:0``, ``file:/path``).

    ``message`` is a literal template and ``params`` its values: only ``reports/`` puts them together, so that
    they can be translated.
    """

    status: Status
    subject: str
    message: str
    params: dict[str, Value] = {}
    evidence: tuple[Evidence, ...] = ()
    fix: tuple[Step, ...] = ()
    location: Location | None = None
    links: tuple[str, ...] = ()


class Acceptance(msgspec.Struct, frozen=True):
    """Why a user lives with a finding, and until when (ISO date, None for ever)."""

    reason: str
    until: str | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A finding under its check's id, with its place among the causes."""

    id: str
    finding: Finding
    explains: tuple[str, ...] = ()
    caused_by: str | None = None
    accepted: Acceptance | None = None
    duration_s: float = 0.0

    @property
    def status(self) -> Status:
        """The finding's status."""
        return self.finding.status

    @property
    def subject(self) -> str:
        """The finding's subject."""
        return self.finding.subject


def saw(what: str, value: Value, source: str) -> Evidence:
    """Name one piece of evidence: what, its value, where it was read."""
    return Evidence(what, value, source)


def step(text: str, command: str | None = None, *, risk: str | None = None, **params: Value) -> Step:
    """Name one step of a fix. Values missing here are taken from the finding."""
    return Step(text, command, risk, params)


def _finding(
    status: Status,
    subject: str,
    message: str,
    fix: Iterable[Step] | Step,
    evidence: Iterable[Evidence] | Evidence,
    links: Iterable[str],
    params: dict[str, Value],
) -> Finding:
    return Finding(
        status=status,
        subject=subject,
        message=message,
        params=params,
        evidence=(evidence,) if isinstance(evidence, Evidence) else tuple(evidence),
        fix=(fix,) if isinstance(fix, Step) else tuple(fix),
        links=tuple(links),
    )


def passed(
    subject: str, message: str, *, evidence: Iterable[Evidence] | Evidence = (), **params: Value
) -> Finding:
    """It is fine, and this is what shows it."""
    return _finding("pass", subject, message, (), evidence, (), params)


def failed(
    subject: str,
    message: str,
    *,
    fix: Iterable[Step] | Step,
    evidence: Iterable[Evidence] | Evidence = (),
    links: Iterable[str] = (),
    **params: Value,
) -> Finding:
    """It will not work, or this GPU must not be used."""
    return _finding("fail", subject, message, fix, evidence, links, params)


def warned(
    subject: str,
    message: str,
    *,
    fix: Iterable[Step] | Step,
    evidence: Iterable[Evidence] | Evidence = (),
    links: Iterable[str] = (),
    **params: Value,
) -> Finding:
    """It works now; it will break, is slow, or needs attention."""
    return _finding("warn", subject, message, fix, evidence, links, params)


def noted(
    subject: str,
    message: str,
    *,
    fix: Iterable[Step] | Step = (),
    evidence: Iterable[Evidence] | Evidence = (),
    links: Iterable[str] = (),
    **params: Value,
) -> Finding:
    """Worth knowing, no fault."""
    return _finding("info", subject, message, fix, evidence, links, params)


def unknown(
    subject: str,
    message: str,
    *,
    fix: Iterable[Step] | Step = (),
    evidence: Iterable[Evidence] | Evidence = (),
    **params: Value,
) -> Finding:
    """It could not be judged; the message says why."""
    return _finding("unknown", subject, message, fix, evidence, (), params)


def skipped(
    subject: str, message: str, *, evidence: Iterable[Evidence] | Evidence = (), **params: Value
) -> Finding:
    """It does not apply here, or was not asked; the message says why."""
    return _finding("skip", subject, message, (), evidence, (), params)
