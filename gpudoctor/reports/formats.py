"""Every form of a report: its name, the module that renders it, and what it is for."""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gpudoctor.facts.snapshot import Snapshot
    from gpudoctor.reports.report import Report


class Format(NamedTuple):
    """One form: ``module`` has ``render(report, facts) -> str``; it is imported when it is asked for."""

    module: str
    about: str


#: ``console`` is rendered apart: it alone knows of widths and colours.
FORMATS: dict[str, Format] = {
    "console": Format("gpudoctor.reports.console", "for people"),
    "json": Format("gpudoctor.reports.json_report", "one document, gpudoctor.report/1"),
    "jsonl": Format("gpudoctor.reports.jsonl", "the run, then one finding per line"),
    "junit": Format("gpudoctor.reports.junit", "Jenkins, GitLab"),
    "sarif": Format("gpudoctor.reports.sarif", "code scanning: findings in files"),
    "github": Format("gpudoctor.reports.github", "GitHub Actions annotations"),
    "markdown": Format("gpudoctor.reports.markdown", "issues and step summaries"),
    "html": Format("gpudoctor.reports.html", "one page without scripts"),
    "prometheus": Format("gpudoctor.reports.prometheus", "node_exporter's textfile collector"),
    "nagios": Format("gpudoctor.reports.nagios", "monitoring plugins"),
    "npd": Format("gpudoctor.reports.npd", "node-problem-detector: one line of at most 80 bytes"),
}

#: These are in the language in use, of any command; every other form is English.
FOR_PEOPLE = frozenset({"console", "github", "markdown", "html", "svg"})


def renderer(name: str) -> "Callable[[Report, Snapshot], str]":
    """Return the function that renders a report in this form; all but ``console`` have one."""
    render: Callable[[Report, Snapshot], str] = importlib.import_module(FORMATS[name].module).render
    return render
