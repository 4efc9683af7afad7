"""Xid, SXid and GPUs lost before: what the kernel log fails a machine for, and what it never does."""

from typing import Any

import pytest

from gpudoctor.checking.finding import Result
from gpudoctor.checking.target import Target
from gpudoctor.evidence.kernel_log import read_events
from gpudoctor.facts.base import Reason, Unavailable
from gpudoctor.facts.gpus import Ecc, Gpu, Gpus
from gpudoctor.facts.kernel_log import KernelEvent, KernelLog
from gpudoctor.reports.words import message
from gpudoctor.testing import judge_check

PLACE = "0000:1a:00"


def gpus(**facts: Any) -> Gpus:
    card = Gpu(index=3, name="NVIDIA A100-SXM4-80GB", pci_address="00000000:1A:00.0", **facts)
    return Gpus(count=1, gpus=(card,))


def log(*events: KernelEvent, **facts: Any) -> KernelLog:
    return KernelLog(**{"source": "journal", "from_boot": True, "events": events, **facts})


def xid(code: int, **facts: Any) -> KernelEvent:
    return KernelEvent(**{"kind": "xid", "code": code, "address": PLACE, "seconds_ago": 60.0, "text": "NVRM", **facts})


def judged(*events: KernelEvent, target: Target | None = None, **facts: Any) -> list[Result]:
    return judge_check("gpu.xid", target=target, kernel_log=log(*events), gpus=gpus(**facts))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        *((xid(code), "fail") for code in (46, 48, 54, 62, 64, 78, 79, 95, 109, 110, 119, 120, 136, 140, 142, 143)),
        *((xid(code), "warn") for code in (8, 11, 13, 31, 32, 69, 94, 126, 162, 168)),
        *((xid(code), "info") for code in (37, 43, 44, 45, 63, 92, 93, 106, 121, 137, 141, 157, 160)),
        *((xid(code, seconds_ago=90_000.0), "info") for code in (13, 31, 94)),
        (xid(13, seconds_ago=None), "warn"),
        (xid(74), "warn"),
        (xid(74, count=2), "fail"),
        (xid(145, fatal=False), "info"),
        (xid(145, fatal=True), "fail"),
        (xid(149), "warn"),
        (xid(999), "warn"),
        (xid(51), "warn"),
        (KernelEvent(kind="fell-off-bus", code=79, address=PLACE, text="fallen off the bus"), "fail"),
    ],
)
def test_severity_by_number(event: KernelEvent, expected: str) -> None:
    (result,) = judged(event)
    assert (result.subject, result.status) == ("gpu:3", expected)


@pytest.mark.parametrize("code", [13, 31, 43, 45, 68])
def test_faults_of_programs_never_fail_a_machine(code: int) -> None:
    for seconds in (1.0, 100_000.0, None):
        (result,) = judged(xid(code, seconds_ago=seconds, count=5000, process="python3"))
        assert result.status in ("warn", "info")


def test_what_came_before_the_driver_was_loaded_anew_is_a_warning() -> None:
    (result,) = judged(xid(119, after_driver_load=False))
    assert result.status == "warn"
    (result,) = judged(xid(119, after_driver_load=False), xid(119, count=2))
    assert (result.status, result.finding.params["count"]) == ("fail", 3)


def test_earlier_boots_are_not_judged() -> None:
    (result,) = judged(xid(79, boot=-1))
    assert (result.subject, result.status) == ("host", "pass")


def test_numbers_whose_figure_is_known_are_judged_by_it() -> None:
    assert judged(xid(154), recovery_action=0)[0].status == "info"
    assert judged(xid(154))[0].status == "fail"
    assert judged(xid(171), ecc=Ecc(enabled=True))[0].status == "info"
    assert judged(xid(171))[0].status == "warn"


def test_a_gpu_that_is_gone_is_named_by_its_place() -> None:
    (result,) = judge_check("gpu.xid", kernel_log=log(xid(79)), gpus=Gpus(count=0))
    assert (result.subject, result.status) == ("pci:0000:1a:00", "fail")


def test_a_gpu_that_was_not_chosen_only_warns() -> None:
    assert judged(xid(79), target=Target(gpus=(0,)))[0].status == "warn"
    assert judged(xid(79), target=Target(gpus=(3,)))[0].status == "fail"


@pytest.mark.parametrize(
    ("kind", "expected", "mends"),
    [("no-permission", "unknown", True), ("error", "unknown", False), ("timeout", "unknown", False),
     ("not-recorded", "unknown", False), ("not-applicable", "skip", False)],
)
def test_an_unreadable_log_is_unknown_and_says_how_to_read_it(kind: Reason, expected: str, mends: bool) -> None:
    (result,) = judge_check("gpu.xid", kernel_log=Unavailable("no permission to read the journal", kind), gpus=gpus())
    assert (result.subject, result.status, bool(result.finding.fix)) == ("host", expected, mends)


def test_a_log_without_its_start_says_so() -> None:
    whole, cut = (judge_check("gpu.xid", kernel_log=log(from_boot=b), gpus=gpus())[0] for b in (True, False))
    assert (whole.status, cut.status) == ("pass", "pass")
    assert "lacks the start" in message(cut.finding)


def test_from_a_pasted_log_to_the_finding() -> None:
    lines = [
        "[ 1843.308145] NVRM: Xid (PCI:0000:1a:00): 79, pid=4012, name=python3, GPU has fallen off the bus.",
        "[ 1843.308150] NVRM: GPU 0000:1a:00.0: GPU has fallen off the bus.",
    ]
    (result,) = judged(*read_events(lines))
    assert message(result.finding).startswith("NVIDIA A100-SXM4-80GB: Xid 79 (1x): the GPU fell off the PCI bus")


@pytest.mark.parametrize(
    ("code", "fatal", "after", "expected"),
    [
        (20034, True, True, "fail"),
        (20034, True, False, "warn"),
        (20034, None, True, "fail"),
        (20034, False, True, "warn"),
        (22013, False, True, "info"),
        (12028, False, True, "warn"),
        (77777, None, True, "warn"),
        (77777, True, True, "fail"),
        (77777, False, True, "info"),
    ],
)
def test_switch_errors(code: int, fatal: bool | None, after: bool, expected: str) -> None:
    event = KernelEvent(kind="sxid", code=code, address="0000:c1:00", fatal=fatal, after_driver_load=after, text="x")
    (result,) = judge_check("gpu.sxid", kernel_log=log(event))
    assert result.status == expected
    assert judge_check("gpu.sxid", kernel_log=log())[0].status == "pass"
    assert judge_check("gpu.sxid", kernel_log=Unavailable("x", "no-permission"))[0].status == "skip"


def test_lost_in_several_boots() -> None:
    def statuses(*events: KernelEvent, boots: int = 3) -> list[tuple[str, str]]:
        results = judge_check("gpu.lost-before", kernel_log=log(*events, boots=boots), gpus=gpus())
        return [(r.subject, r.status) for r in results]

    fell = KernelEvent(kind="fell-off-bus", code=79, address=PLACE, boot=-2, text="x")
    assert statuses(xid(79), fell) == [("gpu:3", "warn")]
    assert statuses(xid(79), xid(79), boots=3) == [("host", "pass")]
    assert statuses(xid(79, boot=-1), xid(79, boot=-1, address="0000:2b:00")) == [("host", "pass")]
    assert statuses(xid(13, boot=-1), xid(13)) == [("host", "pass")]
    assert statuses(boots=1) == [("host", "skip")]
