"""Workflow commands of GitHub Actions: one annotation per finding, at its line where it has one."""

from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.language import tell
from gpudoctor.reports.report import Report, ReportResult
from gpudoctor.reports.words import harmless

_LEVELS = {"fail": "error", "warn": "warning", "unknown": "warning", "info": "notice"}


def render(report: Report, facts: Snapshot) -> str:
    """Return annotations of all that is worth one, and a last line with the verdict."""
    shown = [r for r in report.results if r.status in _LEVELS and r.accepted is None]
    counts = ", ".join(f"{count} {status}" for status, count in report.summary.items() if count)
    return "".join(_annotation(each) for each in shown) + f"gpudoctor: {report.verdict} ({counts})\n"


def _annotation(result: ReportResult) -> str:
    where = {}
    if result.location is not None:
        where = {"file": result.location.file, "line": result.location.line, "col": result.location.column}
    title = f"{result.id} {'' if result.subject == 'host' else result.subject}".strip()
    title += f" ({tell('could not be judged')})" if result.status == "unknown" else ""
    properties = ",".join(
        f"{name}={_property(str(value))}" for name, value in {**where, "title": title}.items() if value is not None
    )
    label = tell("fix")
    fix = "".join(f"\n{label}: {step.text}" + (f"\n  {step.command}" if step.command else "") for step in result.fix)
    cause = f"\n{tell('caused by')} {result.caused_by}" if result.caused_by else ""
    return f"::{_LEVELS[result.status]} {properties}::{_data(result.message + cause + fix)}\n"


def _data(text: str) -> str:
    # Line ends are ours; a runner takes whatever else stands at the start of a line for a command.
    lines = "\n".join(harmless(line) for line in text.split("\n"))
    return lines.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
