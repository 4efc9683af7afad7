"""HTML: one page by itself, without scripts, for light and dark screens and for paper."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.console import header, verdict
from gpudoctor.reports.language import spoken, tell
from gpudoctor.reports.report import Report, ReportResult
from gpudoctor.reports.retold import retold
from gpudoctor.reports.summary import areas, roots
from gpudoctor.reports.words import evidence_name, evidence_value, harmless, size, told


@cache
def environment() -> jinja2.Environment:
    """Return the templates beside this file. Every value is made harmless and escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=lambda value: harmless(value) if type(value) is str else value,
    )  # fmt: skip
    made.globals.update(tell=tell, told=told, retold=retold, spoken=spoken, evidence_name=evidence_name)
    made.filters["evidence"] = lambda each: evidence_value(each.what, each.value)
    return made


def render(report: Report, facts: Snapshot) -> str:
    """Return the report as one self-contained page."""
    causes = roots(report, "fail", "warn", "unknown", "info")
    return environment().get_template("report.html.j2").render(
        report=report,
        title=f"gpudoctor: {report.run.host}",
        verdict=verdict(report),
        machine=header(facts, report)[1:],
        gpus=_gpus(facts),
        causes=[(cause, _symptoms(cause, report.results)) for cause in causes],
        accepted=[result for result in report.results if result.accepted is not None],
        areas=[
            (area, [r for r in results if r.status == "pass"], [r for r in results if r.status == "skip"])
            for area, results in areas(report)
        ],
    )  # fmt: skip


def _symptoms(cause: ReportResult, results: Sequence[ReportResult]) -> list[ReportResult]:
    """Return what a cause explains, and what that explains in turn; no cause is met twice."""
    found: list[ReportResult] = []
    wanted = {cause.id}
    while wanted:
        deeper = [r for r in results if r.caused_by in wanted and r not in found]
        found += deeper
        wanted = {r.id for r in deeper}
    return found


def _gpus(facts: Snapshot) -> list[dict[str, Any]]:
    gpus = facts.gpus.gpus if isinstance(facts.gpus, Gpus) else ()
    return [
        {
            "index": gpu.index,
            "name": gpu.label,
            "memory": size(gpu.memory_total_bytes) if isinstance(gpu.memory_total_bytes, int) else tell("not known"),
            "used": size(gpu.memory_used_bytes) if isinstance(gpu.memory_used_bytes, int) else tell("not known"),
        }
        for gpu in gpus
    ]
