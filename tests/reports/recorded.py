"""Reports of the recorded machines, and one of a hostile one, made once for all tests of their forms."""

import functools
from pathlib import Path

import msgspec

from gpudoctor.checking.finding import Finding, Location, Result, failed, saw, step, unknown, warned
from gpudoctor.checking.policy import default_policy
from gpudoctor.checking.target import Target
from gpudoctor.checking.verdict import judge
from gpudoctor.cli.judging import judge_snapshot, select_checks
from gpudoctor.facts.snapshot import Snapshot, read_snapshot
from gpudoctor.reports.report import Report, make_report

FOLDER = Path(__file__).parents[2] / "fixtures"
MACHINES = sorted(path.parent.name for path in FOLDER.glob("*/snapshot.json"))
STARTED = "2026-11-20T00:00:00Z"


@functools.cache
def machine(name: str) -> tuple[Report, Snapshot]:
    """Return the report of a recorded machine as ``check --snapshot`` makes it, without further wishes."""
    facts = read_snapshot(FOLDER / name / "snapshot.json")
    catalogue, selection = select_checks([], [], [])
    judgement = judge_snapshot(facts, Target(), default_policy(), catalogue, selection, [], "fail")
    return make_report(judgement, started=STARTED, duration_s=1.25, host=f"node-{name}"), facts


#: What others may write into names, logs and files to be taken for more than text.
HOSTILE = (
    "</script><script>alert(1)</script>", "]]> & <b>", "::error file=/etc/passwd::x", "| a=1;2;3", "%0A::set-env",
    "\x1b[31mred\x07", "\x00\x0b￿\ud800", "`rm -rf /` [x](javascript:x) <img src=x onerror=y> @all #1", "한국어 메시지",
    "{{ 7 * 7 }} {% raw %}", "a\nb\r\nc",
)  # fmt: skip


@functools.cache
def hostile() -> tuple[Report, Snapshot]:
    """Return a report whose every text is somebody's attempt at more, with all statuses that count."""
    results = []
    for number, text in enumerate(HOSTILE):
        values = {"text": text}
        say = (failed, warned)[number % 2]
        finding = say(
            f"container:{text}", "it says {text}", evidence=saw(text, text, text),
            fix=step("do {text}", "echo {text}"), **values,
        )  # fmt: skip
        place = Location(f"/srv/{text}/docker-compose.yml", number + 1, 3) if number % 3 else None
        results.append(Result(id="driver.too-old", finding=_at(finding, place)))
    results.append(Result(id="pci.no-gpu", finding=unknown("host", "hangs: {text}", text=HOSTILE[0])))
    judgement = judge(results, policy=default_policy(), gatekeepers={}, fail_on="fail")
    return make_report(judgement, started=STARTED, duration_s=0.5, host=HOSTILE[0]), Snapshot()


def _at(finding: Finding, place: Location | None) -> Finding:
    return msgspec.structs.replace(finding, location=place)


def counted(report: Report, status: str) -> int:
    """Return how many findings have a status and were not accepted."""
    return sum(result.status == status and result.accepted is None for result in report.results)
