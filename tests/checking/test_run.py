"""Every check yields a verdict, and nothing disappears."""

from collections.abc import Iterable

import pytest

from gpudoctor.checking import Check, Finding, Target, failed, need, passed, step
from gpudoctor.checking.policy import default_policy
from gpudoctor.checking.run import run_checks
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Memory
from gpudoctor.facts.snapshot import Snapshot


def make(function: object, **wants: bool) -> Check:
    return Check(id="area.problem", manual="It is so.", function=function, wants=wants)  # type: ignore[arg-type]


def statuses(each: Check, **sections: object) -> list[tuple[str, str]]:
    snapshot = Snapshot(**sections)  # type: ignore[arg-type]
    results = run_checks([each], snapshot, Target(), default_policy())
    return [(r.status, r.subject) for r in results]


def fine() -> Iterable[Finding]:
    yield passed("host", "fine")


def test_silence_is_not_a_pass() -> None:
    assert statuses(make(lambda: [])) == [("unknown", "host")]


def test_a_crash_is_unknown_and_the_others_go_on() -> None:
    def crash() -> Iterable[Finding]:
        raise ZeroDivisionError

    results = run_checks([make(crash), make(fine)], Snapshot(), Target(), default_policy())
    assert [r.status for r in results] == ["unknown", "pass"]


def test_what_was_found_before_a_crash_is_kept() -> None:
    def half() -> Iterable[Finding]:
        yield failed("host", "broken", fix=step("Mend it."))
        raise RuntimeError

    assert [s for s, _ in statuses(make(half))] == ["fail", "unknown"]


def test_a_return_value_that_is_no_finding_is_no_pass() -> None:
    assert statuses(make(lambda: [True])) == [("unknown", "host")]


def test_a_missing_section_is_a_skip_with_the_reason() -> None:
    each = make(lambda memory: fine(), memory=False)
    results = run_checks([each], Snapshot(memory=Unavailable("cut")), Target(), default_policy())
    assert results[0].status == "skip"
    assert results[0].finding.params == {"section": "memory", "reason": "cut"}


def test_a_gatekeeper_is_given_the_failure() -> None:
    def keeper(memory: Memory | Unavailable) -> Iterable[Finding]:
        yield passed("host", "given {what}", what=type(memory).__name__)

    results = run_checks([make(keeper, memory=True)], Snapshot(memory=Unavailable("cut")), Target(), default_policy())
    assert results[0].finding.params == {"what": "Unavailable"}


@pytest.mark.parametrize(
    ("kind", "status"),
    [("not-supported", "skip"), ("driver-too-old", "skip"), ("no-permission", "unknown"), ("error", "unknown")],
)
def test_a_missing_figure_is_skipped_only_when_there_is_nothing_to_judge(kind: str, status: str) -> None:
    def asks(gpu: Gpu) -> Iterable[Finding]:
        yield passed(gpu.subject, "{t} C", t=need(gpu.temperature_celsius))

    gpu = Gpu(index=0, temperature_celsius=Unavailable("no", kind))  # type: ignore[arg-type]
    assert statuses(make(asks, gpu=False), gpus=Gpus(gpus=(gpu,))) == [(status, "gpu:0")]


def test_a_gpu_that_did_not_answer_is_no_pass_and_costs_only_itself() -> None:
    gpus = Gpus(gpus=(Gpu(index=0), Gpu(index=1, failure="did not answer within 10 s")))
    each = make(lambda gpu: [passed(gpu.subject, "fine")], gpu=False)
    assert statuses(each, gpus=gpus) == [("pass", "gpu:0"), ("skip", "gpu:1")]


def test_no_gpu_is_a_skip_for_checks_of_each_gpu() -> None:
    assert statuses(make(lambda gpu: fine(), gpu=False), gpus=Gpus()) == [("skip", "host")]


def test_only_the_chosen_gpus_are_judged() -> None:
    gpus = Gpus(gpus=(Gpu(index=0), Gpu(index=1)))
    each = make(lambda gpu: [passed(gpu.subject, "fine")], gpu=False)
    results = run_checks([each], Snapshot(gpus=gpus), Target(gpus=(1,)), default_policy())
    assert [r.subject for r in results] == ["gpu:1"]
