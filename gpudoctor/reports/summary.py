"""What every short form of a report says: the findings that count, and one line for all of them."""

from collections.abc import Iterator, Sequence

from gpudoctor.checking.finding import Status
from gpudoctor.reports.report import Report, ReportResult

#: Whose reason for a skip tells why a whole area was: on a Kubernetes node without Docker containers cannot be judged.
_GATE = "docker.unreachable"


def roots(report: Report, *statuses: Status) -> list[ReportResult]:
    """Return the findings of these statuses that nothing else explains and nobody accepted, in the report's order."""
    return [
        result for result in report.results
        if result.status in statuses and result.caused_by is None and result.accepted is None
    ]


def blocking(report: Report) -> tuple[Status, ...]:
    """Return the statuses that make this run fail."""
    return {"fail": ("fail",), "warn": ("fail", "warn"), "never": ()}[report.run.fail_on]  # type: ignore[return-value]


def deciding(report: Report) -> list[ReportResult]:
    """Return what made the verdict what it is, the weightiest first; empty when all is well."""
    if report.verdict == "unknown":
        return roots(report, "unknown")
    return roots(report, "fail") or roots(report, "warn")


def nothing_judged(report: Report) -> bool:
    """Tell whether a pass means only that every check that was asked for was skipped."""
    return report.verdict == "pass" and not report.run.judged


def why_nothing(report: Report) -> str:
    """Return what monitors are told where every check was skipped."""
    gate = next((r for r in report.results if r.id == _GATE), None)
    return "nothing was judged: " + ("every check was skipped here" if gate is None else gate.message)


def one_line(results: Sequence[ReportResult]) -> str:
    """Return ``driver.too-old: sentence`` of the first, and how many more there are."""
    if not results:
        return "no problem found"
    first = results[0]
    where = "" if first.subject == "host" else f" {first.subject}"
    more = len({(r.id, r.message) for r in results}) - 1
    return f"{first.id}{where}: {first.message}" + (f" (and {more} more)" if more else "")


def areas(report: Report) -> Iterator[tuple[str, list[ReportResult]]]:
    """Yield each area with its results, areas in alphabetical order."""
    found: dict[str, list[ReportResult]] = {}
    for result in report.results:
        found.setdefault(result.id.partition(".")[0], []).append(result)
    yield from sorted(found.items())
