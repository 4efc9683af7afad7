"""node-problem-detector: one line of at most 80 bytes of ASCII, the condition's message."""

from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.report import Report
from gpudoctor.reports.summary import deciding, nothing_judged, one_line, why_nothing

#: NPD's default ``max_output_length``; it cuts bytes, not characters.
MAX_BYTES = 80


def render(report: Report, facts: Snapshot) -> str:
    """Return the line."""
    return line(why_nothing(report) if nothing_judged(report) else one_line(deciding(report))) + "\n"


def line(text: str) -> str:
    """Return the text as one line that NPD shows whole."""
    ascii_text = " ".join(text.split()).encode("ascii", "replace").decode()
    return ascii_text if len(ascii_text) <= MAX_BYTES else ascii_text[: MAX_BYTES - 3].rstrip() + "..."
