"""JSON lines: first the run with its verdict, then one finding per line, each with the host it is about."""

from typing import Any

import msgspec

from gpudoctor.facts.encoding import encoded
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.json_report import escape
from gpudoctor.reports.report import Report


def render(report: Report, facts: Snapshot) -> str:
    """Return the report line by line, ASCII, each line one JSON object."""
    whole: dict[str, Any] = msgspec.to_builtins(report)
    results = whole.pop("results")
    lines = [whole, *({"host": report.run.host, **result} for result in results)]
    return "".join(escape(encoded(line).decode()) + "\n" for line in lines)
