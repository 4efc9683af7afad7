"""Verdict and exit code: one rule for every command."""

import pytest

from gpudoctor.checking.finding import Finding, Result, Status
from gpudoctor.checking.policy import Accept, Policy, default_policy
from gpudoctor.checking.verdict import FailOn, judge

KEEPERS = {
    "pci": "pci.no-gpu",
    "driver": "driver.not-loaded",
    "gpus": "driver.nvml-unusable",
    "memory": "host.ram-short",
}


def result(check_id: str, status: Status) -> Result:
    return Result(id=check_id, finding=Finding(status=status, subject="host", message="m"))


@pytest.mark.parametrize(
    ("seen", "fail_on", "verdict", "code"),
    [
        ({"a.b": "pass"}, "fail", "pass", 0),
        ({"a.b": "info", "a.c": "skip"}, "fail", "pass", 0),
        ({"a.b": "warn"}, "fail", "warn", 0),
        ({"a.b": "warn"}, "warn", "warn", 1),
        ({"a.b": "fail"}, "fail", "fail", 1),
        ({"a.b": "fail"}, "never", "fail", 0),
        ({"pci.no-gpu": "unknown"}, "fail", "unknown", 3),
        ({"pci.no-gpu": "unknown"}, "never", "unknown", 3),
        ({"driver.nvml-unusable": "unknown", "a.b": "fail"}, "fail", "fail", 1),
        ({"host.ram-short": "unknown"}, "fail", "pass", 0),
        ({"a.b": "unknown", "a.c": "warn"}, "fail", "warn", 0),
    ],
)
def test_verdict_and_exit_code(seen: dict[str, Status], fail_on: FailOn, verdict: str, code: int) -> None:
    judgement = judge([result(i, s) for i, s in seen.items()], policy=default_policy(), gatekeepers=KEEPERS,
                      fail_on=fail_on)
    assert (judgement.verdict, judgement.exit_code) == (verdict, code)


def test_require_makes_an_unknown_decide() -> None:
    judged = judge([result("a.b", "unknown")], policy=default_policy(), gatekeepers={}, required=["a.b"])
    assert judged.exit_code == 3


def policy(*accept: Accept, today: str = "2026-11-20") -> Policy:
    return Policy(thresholds={}, accept=accept, today=today)


def test_an_accepted_finding_is_shown_and_changes_nothing() -> None:
    accepting = policy(Accept("gpu.ecc-*", "bought that way"))
    judged = judge([result("gpu.ecc-off", "fail")], policy=accepting, gatekeepers={})
    assert (judged.exit_code, judged.verdict, judged.summary["accepted"], judged.summary["fail"]) == (0, "pass", 1, 0)
    assert judged.results[0].accepted is not None
    assert judged.results[0].accepted.reason == "bought that way"


def test_an_expired_acceptance_says_so_and_accepts_nothing() -> None:
    import datetime

    until = datetime.date(2026, 11, 19)
    judged = judge([result("a.b", "fail")], policy=policy(Accept("a.b", "for now", until=until)), gatekeepers={})
    assert judged.exit_code == 1
    assert judged.results[0].finding.fix[-1].params == {"until": "2026-11-19"}


def test_an_acceptance_holds_on_its_last_day() -> None:
    import datetime

    until = datetime.date(2026, 11, 20)
    judged = judge([result("a.b", "fail")], policy=policy(Accept("a.b", "for now", until=until)), gatekeepers={})
    assert judged.exit_code == 0


def test_an_acceptance_of_one_subject_leaves_the_others() -> None:
    judged = judge([result("a.b", "fail")], policy=policy(Accept("a.b", "x", subject="gpu:1")), gatekeepers={})
    assert judged.exit_code == 1
