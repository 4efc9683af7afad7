"""Reading many reports: only what a fleet's table needs of each, and the reason where one cannot be read."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from gpudoctor.checking.finding import Acceptance, Status
from gpudoctor.checking.verdict import Verdict
from gpudoctor.facts.snapshot import SnapshotError, decode
from gpudoctor.reports.machine import machine
from gpudoctor.reports.words import short

#: A report of a 16-GPU node takes 150 kB.
MAX_FILE_BYTES = 32 * 2**20
_MOST_PROBLEMS = 200
_LONGEST_MESSAGE = 400


class Problem(msgspec.Struct, frozen=True):
    """A finding that counts: what stands at the root, not what it explains."""

    id: str
    status: Status
    subject: str
    message: str


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node by its report. ``problems`` are root causes, worst first; ``symptoms`` counts what they explain."""

    host: str
    file: str
    started: str
    verdict: Verdict
    exit_code: int
    problems: tuple[Problem, ...] = ()
    symptoms: int = 0
    machine: dict[str, str] = {}


class Unreadable(msgspec.Struct, frozen=True):
    """A file that is no report, and why."""

    file: str
    problem: str


class _Result(msgspec.Struct):
    id: str
    status: Status
    subject: str
    message: str
    caused_by: str | None = None
    accepted: Acceptance | None = None


class _Run(msgspec.Struct):
    started: str
    host: str
    exit_code: int


class _Report(msgspec.Struct):
    schema: Literal["gpudoctor.report/1"]
    run: _Run
    verdict: Verdict
    results: list[_Result]
    machine: dict[str, str] = {}


_DECODER = msgspec.json.Decoder(_Report)


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files themselves and the ``*.json`` of folders, in order."""
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.glob("*.json") if each.is_file())
        else:
            yield path


def read(path: Path) -> Node | Unreadable:
    """Read one report; whatever is wrong with the file is said, not raised."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return Unreadable(str(path), error.strerror or str(error))
    if len(data) > MAX_FILE_BYTES:
        return Unreadable(str(path), "too large for a report")
    if not data.strip():
        return Unreadable(str(path), "is empty")
    try:
        report = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Unreadable(str(path), _why(data, error))
    return _node(report, str(path))


def machine_of(path: Path) -> dict[str, str]:
    """Return what a report, a snapshot or a saved profile says of its machine.

    Raises:
        ValueError: It is none of these, or cannot be read; the message is one line.
    """
    try:
        data = path.read_bytes()[: MAX_FILE_BYTES + 1]
        head = msgspec.json.decode(data, type=_Head)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("is no report, snapshot or profile") from None
    if head.schema.startswith("gpudoctor.snapshot/"):
        try:
            return machine(decode(data, str(path)))
        except SnapshotError as error:
            raise ValueError(str(error)) from None
    if not head.machine:
        raise ValueError("says nothing of its machine: it was made by an older gpudoctor, or from no facts")
    return head.machine


class _Head(msgspec.Struct):
    schema: str
    machine: dict[str, str] = {}


def _node(report: _Report, file: str) -> Node:
    told = [r for r in report.results if r.status in ("fail", "warn", "unknown") and r.accepted is None]
    roots = [r for r in told if r.caused_by is None][:_MOST_PROBLEMS]
    return Node(
        host=short(report.run.host, 120),
        file=file,
        started=short(report.run.started, 40),
        verdict=report.verdict,
        exit_code=report.run.exit_code,
        problems=tuple(Problem(r.id, r.status, r.subject, short(r.message, _LONGEST_MESSAGE)) for r in roots),
        symptoms=len(told) - sum(r.caused_by is None for r in told),
        machine=report.machine,
    )


def _why(data: bytes, error: Exception) -> str:
    if b"gpudoctor.error/" in data[:200]:
        return "there gpudoctor could make no report: it holds the reason"
    if b"gpudoctor.snapshot/" in data[:200]:
        return "is a snapshot: gpudoctor check --snapshot makes a report of it"
    if "`$.schema`" in str(error):
        return "is no gpudoctor.report/1: another program's, or a newer gpudoctor's"
    first = data.lstrip()[:1]
    return "is no report: " + short(str(error), 160) if first == b"{" else "is no JSON document"
