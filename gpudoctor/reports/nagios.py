"""The output of a monitoring plugin: status line with performance data, then what else is wrong."""

from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.report import Report
from gpudoctor.reports.summary import deciding, nothing_judged, one_line, roots, why_nothing
from gpudoctor.reports.words import harmless

WORDS = {"pass": "OK", "warn": "WARNING", "fail": "CRITICAL", "unknown": "UNKNOWN"}
_MOST_LINES = 20


def render(report: Report, facts: Snapshot) -> str:
    """Return the plugin's output; a bar in a message would end it, so none gets through."""
    counts = report.summary
    figures = " ".join(f"{name}={counts[name]};;;0" for name in ("fail", "warn", "unknown", "pass"))
    figures += f" time={report.run.duration_s}s;;;0"
    word = "UNKNOWN" if nothing_judged(report) else WORDS[report.verdict]
    first = _text(why_nothing(report) if nothing_judged(report) else one_line(deciding(report)))
    others = [r for r in roots(report, "fail", "warn", "unknown") if r not in deciding(report)[:1]]
    lines = [f"{WORDS[r.status]} {r.id} {r.subject}: {r.message}" for r in others]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES} more"]
    head = f"GPUDOCTOR {word} - {first} | {figures}"
    return "\n".join([head, *(_text(line) for line in lines)]) + "\n"


def _text(text: str) -> str:
    return harmless(" ".join(text.split())).replace("|", "/")
