"""What gpudoctor wrote itself: reports, whose findings go on, and snapshots inside a paste."""

from typing import Any, Literal

import msgspec

from gpudoctor.evidence.blocks import Reading, Unread
from gpudoctor.facts.base import Section
from gpudoctor.facts.signatures import Reported
from gpudoctor.facts.snapshot import Snapshot, SnapshotError, decode, section_types

_MAX_RESULTS = 4096


class _Step(msgspec.Struct):
    text: str = ""
    command: str | None = None
    risk: str | None = None


class _Evidence(msgspec.Struct):
    what: str = ""
    value: str | int | float | bool | list[str | int] | None = None
    source: str = ""


class _Result(msgspec.Struct):
    id: str
    status: Literal["fail", "warn", "unknown", "info", "skip", "pass"]
    subject: str = "host"
    message: str = ""
    evidence: list[_Evidence] = []
    fix: list[_Step] = []


class _Report(msgspec.Struct):
    results: list[_Result]


def report(told: Any, line: int) -> Reading | None:
    """Take the findings of a report; what passed or was left out says nothing about the trouble.

    Raises:
        Unread: It is of another form than ``gpudoctor.report/1``.
    """
    schema = told.get("schema") if isinstance(told, dict) else None
    if schema != "gpudoctor.report/1":
        raise Unread(f"a report of gpudoctor in a form that this version does not know: {str(schema)[:60]!r}")
    try:
        results = msgspec.convert(told, _Report).results[:_MAX_RESULTS]
    except (msgspec.ValidationError, RecursionError) as error:
        raise Unread(f"the report of gpudoctor is damaged: {error}") from None
    found = tuple(reported for each in results if (reported := _told(each)) is not None)
    return Reading(name="gpudoctor-report", reported=found)


def _told(each: _Result) -> Reported | None:
    if each.status == "skip" or each.status == "pass":
        return None
    return Reported(
        id=each.id[:120],
        status=each.status,
        subject=each.subject[:200],
        message=each.message[:2000],
        seen=tuple((e.what[:200], _text(e.value), e.source[:200]) for e in each.evidence[:64]),
        fix=tuple((s.text[:1000], s.command and s.command[:1000], s.risk and s.risk[:200]) for s in each.fix[:64]),
    )


def _text(value: Any) -> str:
    return ", ".join(map(str, value))[:1000] if isinstance(value, list) else str(value)[:1000]


def snapshot(told: Any, line: int) -> Reading | None:
    """Take the sections of a snapshot that stands inside something else.

    Raises:
        Unread: It is no snapshot of this form.
    """
    try:
        found: Snapshot = decode(msgspec.json.encode(told), "snapshot")
    except SnapshotError as error:
        raise Unread(str(error)) from None
    sections = {name: getattr(found, name) for name in section_types() if name != "signatures"}
    kept = {name: each for name, each in sections.items() if isinstance(each, Section)}
    return Reading(name="gpudoctor-snapshot", sections=kept)
