"""Metrics for node_exporter's textfile collector."""

import datetime

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from gpudoctor.checking.finding import STATUSES
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.report import Report, ReportResult

_VALUES = {"pass": 0, "info": 0, "warn": 1, "fail": 2, "unknown": 3}
#: What one figure per check must not hide: a failure first, then what could not be looked at.
_WEIGHT = {status: weight for weight, status in enumerate(("skip", "pass", "info", "warn", "unknown", "fail"))}


def render(report: Report, facts: Snapshot) -> str:
    """Return the metrics: one figure per check that was judged, counts, and when the run was.

    A check that was skipped has no figure; one that was accepted counts as passed. No label holds free text.
    """
    registry = CollectorRegistry()
    status = Gauge(
        "gpudoctor_check_status", "Result of a check (0 pass, 1 warning, 2 fail, 3 unknown).", ["check", "area"],
        registry=registry,
    )
    worst: dict[str, str] = {}
    for result in report.results:
        worst[result.id] = max(worst.get(result.id, "skip"), _status(result), key=_WEIGHT.__getitem__)
    for check, word in sorted(worst.items()):
        if word in _VALUES:
            status.labels(check, check.partition(".")[0]).set(_VALUES[word])
    counts = Gauge("gpudoctor_findings", "Findings of the last run by status.", ["status"], registry=registry)
    for word in (*STATUSES, "accepted"):
        counts.labels(word).set(report.summary[word])
    _gauge(registry, "gpudoctor_exit_code", "Exit code of the last run.", report.run.exit_code)
    _gauge(registry, "gpudoctor_last_run_timestamp_seconds", "When the last run started.", _seconds(report.run.started))
    _gauge(registry, "gpudoctor_last_run_duration_seconds", "How long the last run took.", report.run.duration_s)
    info = Gauge("gpudoctor_build_info", "Which gpudoctor ran.", ["version", "matrices"], registry=registry)
    info.labels(report.tool.version, report.tool.matrices).set(1)
    return generate_latest(registry).decode("utf-8")


def _status(result: ReportResult) -> str:
    return "pass" if result.accepted is not None else result.status


def _gauge(registry: CollectorRegistry, name: str, about: str, value: float) -> None:
    Gauge(name, about, registry=registry).set(value)


def _seconds(started: str) -> float:
    moment = datetime.datetime.strptime(started, "%Y-%m-%dT%H:%M:%SZ")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()
