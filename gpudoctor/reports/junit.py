"""JUnit XML: a suite per area, a case per finding, as Jenkins and GitLab read it."""

import re

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.report import Report, ReportResult
from gpudoctor.reports.summary import areas, blocking
from gpudoctor.reports.words import evidence_value, harmless

#: Characters that XML 1.0 cannot hold, however they are written.
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report, facts: Snapshot) -> str:
    """Return the report as JUnit XML.

    What makes the run fail is a failure; ``unknown`` is an error; ``skip`` and what was accepted are skipped. Other
    warnings pass and say so in their output: JUnit has no word for them.
    """
    document = JUnitXml(_text(f"gpudoctor {report.run.host}"))
    for area, results in areas(report):
        suite = TestSuite(area)
        suite.hostname = _text(report.run.host)
        suite.timestamp = report.run.started.removesuffix("Z")
        for result in results:
            suite.add_testcase(_case(result, blocking(report)))
        suite.update_statistics()  # type: ignore[no-untyped-call]
        document.add_testsuite(suite)
    # No totals at the top: Jenkins' schema knows fewer of them than the library writes.
    data: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + data.decode("utf-8") + "\n"


def _case(result: ReportResult, blocking: tuple[str, ...]) -> TestCase:
    case = TestCase(_text(result.subject), classname=result.id, time=round(result.duration_s, 3))
    if result.accepted is not None:
        case.result = [Skipped(_text(f"accepted: {result.accepted.reason}"))]
    elif result.status in blocking:
        failure = Failure(_text(result.message), result.status)
        failure.text = _details(result)
        case.result = [failure]
    elif result.status == "unknown":
        error = Error(_text(result.message), "unknown")
        error.text = _details(result)
        case.result = [error]
    elif result.status == "skip":
        case.result = [Skipped(_text(result.message))]
    else:
        case.system_out = _details(result)
    return case


def _details(result: ReportResult) -> str:
    lines = [f"{result.status}: {result.message}"]
    lines += [f"seen: {each.what}: {evidence_value(each.what, each.value)} ({each.source})" for each in result.evidence]
    for step in result.fix:
        lines += [f"fix: {step.text}", *([f"    {step.command}"] if step.command else [])]
    if result.caused_by:
        lines.append(f"caused by: {result.caused_by}")
    return "\n".join(_text(line) for line in lines)


def _text(text: str) -> str:
    return _NOT_XML.sub("?", harmless(text))
