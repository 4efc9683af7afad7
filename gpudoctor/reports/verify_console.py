"""What ``verify`` prints: the findings as every report has them, and a last line about files."""

from collections.abc import Sequence

from rich.text import Text

from gpudoctor.facts.files import Files
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports import console
from gpudoctor.reports.console import STYLES, Look
from gpudoctor.reports.language import tell, tell_many
from gpudoctor.reports.report import Report
from gpudoctor.reports.words import duration, harmless, size


def render(report: Report, facts: Snapshot, look: Look, written: Sequence[str], list_bad: str | None) -> str:
    """Return the report as text; ``written`` are lists of checksums that were made, ``list_bad`` names one of files."""
    lines = [tell("wrote {path}").replace("{path}", harmless(path)) for path in written]
    if list_bad is not None:
        lines.append(tell("files to copy again are listed in {path}").replace("{path}", harmless(list_bad)))
    return console.render(report, facts, look, Text("\n".join([*lines, ""])) + _closing(report, facts))


def _closing(report: Report, facts: Snapshot) -> Text:
    files = facts.files.files if isinstance(facts.files, Files) else ()
    counts = {outcome: sum(each.outcome == outcome for each in files) for outcome in {each.outcome for each in files}}
    verified = [each for each in files if each.outcome == "verified"]
    bytes_ = size(sum(each.size_bytes or 0 for each in verified))
    words = [tell_many("{count} file verified", "{count} files verified", len(verified)) + f" ({bytes_})"]
    bad = counts.get("broken", 0) + counts.get("missing", 0)
    if bad:
        words.append(tell_many("{count} to copy again", "{count} to copy again", bad))
    if unjudged := sum(counts.get(each, 0) for each in ("unreadable", "no-checksum", "refused", "not-read")):
        words.append(tell_many("{count} not judged", "{count} not judged", unjudged))
    took = tell(" in {time}. ").replace("{time}", duration(report.run.duration_s))
    last = Text(", ".join(words) + took)
    last.append(tell(_VERDICTS[report.verdict]), style=f"bold {STYLES[report.verdict]}".replace("bold bold", "bold"))
    return last


_VERDICTS = {
    "pass": "Whole.",
    "warn": "Whole, with warnings.",
    "fail": "Not whole.",
    "unknown": "No verdict: not everything could be compared.",
}
