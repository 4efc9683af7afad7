"""The report as data: one Finding shape for every command that judges (``gpudoctor.report/1``)."""

from collections.abc import Collection
from typing import Literal

import msgspec

from gpudoctor import __version__
from gpudoctor.checking.finding import Acceptance, Location, Result, Status, Value
from gpudoctor.checking.target import Stage
from gpudoctor.checking.verdict import FailOn, Judgement, Verdict
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.matrices.table import date_in_use
from gpudoctor.reports import words
from gpudoctor.reports.language import speaking, spoken, tell
from gpudoctor.reports.machine import machine

SCHEMA: Literal["gpudoctor.report/1"] = "gpudoctor.report/1"


class ReportEvidence(msgspec.Struct, frozen=True):
    """What was seen, its value, and where."""

    what: str
    value: Value
    source: str


class ReportStep(msgspec.Struct, frozen=True):
    """One step of a fix, put into words; ``command`` is copy-safe."""

    text: str
    command: str | None
    risk: str | None


class ReportResult(msgspec.Struct, frozen=True, kw_only=True):
    """One finding as every report shows it. ``message`` is ``params`` in words."""

    id: str
    status: Status
    subject: str
    message: str
    params: dict[str, Value]
    evidence: tuple[ReportEvidence, ...]
    fix: tuple[ReportStep, ...]
    location: Location | None
    explains: tuple[str, ...]
    caused_by: str | None
    accepted: Acceptance | None
    links: tuple[str, ...]
    duration_s: float


class ReportTool(msgspec.Struct, frozen=True):
    """Which gpudoctor judged, with matrices of which day."""

    version: str
    matrices: str


class ReportRun(msgspec.Struct, frozen=True, kw_only=True):
    """When, where and with which exit code. ``host`` is the machine that was judged.

    ``exit_code`` is that of the contract, whatever ``--exit-style`` made of it. ``fail_on``: the least status that
    makes it 1. ``judged`` is False where every check that was asked for was skipped.
    """

    started: str
    duration_s: float
    host: str
    exit_code: int
    stage: Stage = "pre-launch"
    fail_on: FailOn = "fail"
    judged: bool = True


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole report. ``results`` has root causes before their symptoms, then the worst first.

    ``machine`` is what equal nodes have in common, for comparisons; empty where nothing was read.
    """

    schema: Literal["gpudoctor.report/1"] = SCHEMA
    tool: ReportTool
    run: ReportRun
    verdict: Verdict
    summary: dict[str, int]
    machine: dict[str, str] = {}
    results: tuple[ReportResult, ...]


def show(result: Result) -> ReportResult:
    """Put one result into words."""
    finding = result.finding
    return ReportResult(
        id=result.id,
        status=finding.status,
        subject=finding.subject,
        message=words.message(finding),
        params=finding.params,
        evidence=tuple(ReportEvidence(e.what, e.value, e.source) for e in finding.evidence),
        fix=tuple(
            ReportStep(words.step_text(s, finding), words.step_command(s, finding), s.risk and tell(s.risk))
            for s in finding.fix
        ),
        location=finding.location,
        explains=result.explains,
        caused_by=result.caused_by,
        accepted=result.accepted,
        links=finding.links,
        duration_s=result.duration_s,
    )


def make_report(
    judgement: Judgement, *, started: str, duration_s: float, host: str, stage: Stage = "pre-launch",
    fail_on: FailOn = "fail", facts: Snapshot | None = None, asked: Collection[str] | None = None,
) -> Report:
    """Make the report of a judgement, in English whatever language is in use (``in_language``).

    Args:
        judgement: Results in their final order.
        started: UTC time, ISO 8601 with Z.
        duration_s: Seconds from the command's start to here.
        host: Name of the machine judged.
        stage: What the machine was judged for.
        fail_on: The least status that blocks.
        facts: What was judged, for ``machine``.
        asked: Ids of the checks that were asked for, as against gatekeepers that came with them; None for all.
    """
    with speaking("en"):
        results = tuple(show(result) for result in judgement.results)
    return Report(
        tool=ReportTool(__version__, date_in_use()),
        run=ReportRun(
            started=started,
            duration_s=round(duration_s, 3),
            host=host,
            exit_code=judgement.exit_code,
            stage=stage,
            fail_on=fail_on,
            judged=any(r.status != "skip" for r in judgement.results if asked is None or r.id in asked),
        ),
        verdict=judgement.verdict,
        summary=judgement.summary,
        machine={} if facts is None else machine(facts),
        results=results,
    )


def in_language(report: Report, judgement: Judgement) -> Report:
    """Return the judgement's report with its sentences in the language in use."""
    if spoken() == "en":
        return report
    return msgspec.structs.replace(report, results=tuple(show(result) for result in judgement.results))
