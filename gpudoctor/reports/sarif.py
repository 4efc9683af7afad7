"""SARIF 2.1.0: findings that stand in a file, for code scanning. What stands in none becomes a notification."""

import hashlib
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from gpudoctor.checking.plugins import load_checks
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.json_report import encode
from gpudoctor.reports.report import Report, ReportResult
from gpudoctor.reports.words import evidence_value

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"fail": "error", "warn": "warning", "info": "note"}


def render(report: Report, facts: Snapshot) -> str:
    """Return the report as a SARIF log with one run.

    Passes and skips are left out; an accepted finding is a suppressed result.
    """
    placed = [r for r in report.results if r.location is not None and r.status in (*_LEVELS, "unknown")]
    elsewhere = [r for r in report.results if r.location is None and r.status in ("fail", "warn", "unknown")]
    ids = sorted({result.id for result in (*placed, *elsewhere)})
    invocation: dict[str, Any] = {
        "executionSuccessful": True,
        "exitCode": report.run.exit_code,
        "startTimeUtc": report.run.started,
        "toolExecutionNotifications": [_notification(result, ids) for result in elsewhere if result.accepted is None],
    }
    driver = {"name": "gpudoctor", "version": report.tool.version, "rules": [_rule(each) for each in ids]}
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "results": [_result(result, ids) for result in placed],
        "columnKind": "unicodeCodePoints",
    }
    return encode({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}) + "\n"


def _rule(check_id: str) -> dict[str, Any]:
    check = load_checks().get(check_id)
    if check is None:
        return {"id": check_id}
    rule: dict[str, Any] = {
        "id": check_id,
        "shortDescription": {"text": check.title},
        "help": {"text": check.manual, "markdown": check.manual},
    }
    links = [line.lstrip("- ").strip() for line in check.manual.splitlines() if line.startswith("- https://")]
    return {**rule, "helpUri": links[0]} if links else rule


def _result(result: ReportResult, ids: list[str]) -> dict[str, Any]:
    location = result.location
    assert location is not None
    region = {"startLine": location.line or 1, **({"startColumn": location.column} if location.column else {})}
    artifact = {"uri": _uri(location.file)}
    # Without the line, so that an edit above it does not make an old finding a new one.
    fingerprint = hashlib.sha256(f"{result.id}\0{result.subject}\0{location.file}".encode("utf-8", "replace"))
    shown: dict[str, Any] = {
        "ruleId": result.id,
        "ruleIndex": ids.index(result.id),
        "message": {"text": _words(result)},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
        "partialFingerprints": {"gpudoctorFinding/v1": fingerprint.hexdigest()},
    }
    # What could not be judged is for a person to look at; SARIF gives that no level.
    shown |= {"kind": "review", "level": "none"} if result.status == "unknown" else {"level": _LEVELS[result.status]}
    if result.accepted is not None:
        shown["suppressions"] = [{"kind": "external", "justification": result.accepted.reason}]
    return shown


def _notification(result: ReportResult, ids: list[str]) -> dict[str, Any]:
    return {
        "associatedRule": {"id": result.id, "index": ids.index(result.id)},
        "level": {"fail": "error", "warn": "warning"}.get(result.status, "note"),
        "message": {"text": f"{result.status}: {_words(result)}"},
    }


def _words(result: ReportResult) -> str:
    subject = "" if result.subject == "host" else f"{result.subject}: "
    lines = [subject + result.message]
    lines += [f"Seen: {each.what}: {evidence_value(each.what, each.value)} ({each.source})" for each in result.evidence]
    for step in result.fix:
        lines.append(f"Fix: {step.text}" + (f"\n{step.command}" if step.command else ""))
    return "\n".join(lines)


def _uri(path: str) -> str:
    place = PurePosixPath(path)
    plain = quote(str(place), errors="replace")
    return f"file://{plain}" if place.is_absolute() else plain
