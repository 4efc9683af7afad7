"""Markdown for an issue or a step summary: a table of what is wrong, evidence folded beneath."""

import re

from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.console import header, verdict
from gpudoctor.reports.language import tell
from gpudoctor.reports.report import Report, ReportResult
from gpudoctor.reports.words import evidence_name, evidence_value, harmless

#: What Markdown or HTML would take for markup; others' words stand as they are.
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~$])")


def render(report: Report, facts: Snapshot) -> str:
    """Return the report as Markdown."""
    counts = ", ".join(f"{count} {status}" for status, count in report.summary.items() if count)
    lines = [f"## gpudoctor: {verdict(report)}", "", _text("  ".join(header(facts, report))), "", counts, ""]
    shown = [r for r in report.results if r.status in ("fail", "warn", "unknown", "info") and r.accepted is None]
    if shown:
        lines += [f"| {tell('status')} | {tell('check')} | {tell('subject')} | {tell('what')} |", "|---|---|---|---|"]
        lines += [_row(result) for result in shown]
        lines.append("")
    for result in shown:
        lines += _details(result)
    return "\n".join(lines) + "\n"


def _row(result: ReportResult) -> str:
    caused = f" ({tell('caused by')} `{result.caused_by}`)" if result.caused_by else ""
    status = "" if result.caused_by else result.status.upper()
    return f"| {status} | `{result.id}` | {_text(result.subject)} | {_text(result.message)}{caused} |"


def _details(result: ReportResult) -> list[str]:
    if not result.evidence and not result.fix:
        return []
    lines = ["<details>", f"<summary><code>{result.id}</code> {_text(result.subject)}</summary>", ""]
    if result.location is not None:
        line = f":{result.location.line}" if result.location.line else ""
        lines.append(f"- {tell('in')}: {_text(result.location.file)}{line}")
    for each in result.evidence:
        value = evidence_value(each.what, each.value)
        lines.append(f"- {tell('seen')}: {_text(evidence_name(each.what))}: {_text(value)} ({_text(each.source)})")
    for step in result.fix:
        risk = f" ({_text(step.risk)})" if step.risk else ""
        lines.append(f"- {tell('fix')}: {_text(step.text)}{risk}")
        if step.command:
            lines += ["", *_code(step.command), ""]
    return [*lines, *(f"- <{link}>" for link in result.links if link.startswith("https://")), "", "</details>", ""]


def _code(command: str) -> list[str]:
    text = harmless(command)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"  {fence}sh", f"  {text}", f"  {fence}"]


def _text(text: str) -> str:
    plain = harmless(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", plain).replace("@", "&#64;")
