"""GPUs that do not answer, and how many there are."""

from typing import Any

import pytest

from gpudoctor.checking.target import Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.kernel_log import KernelEvent, KernelLog
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.testing import judge_check


def good(index: int, **facts: Any) -> Gpu:
    base = {"name": "NVIDIA H100 80GB HBM3", "memory_total_bytes": 85 * 10**9, "temperature_celsius": 33}
    return Gpu(index=index, **{**base, **facts})


def statuses(check_id: str, *cards: Gpu, target: Target | None = None, **sections: Any) -> list[tuple[str, str]]:
    results = judge_check(check_id, target=target, gpus=Gpus(count=len(cards), gpus=cards), **sections)
    return [(r.subject, r.status) for r in results]


def test_one_error_among_eight() -> None:
    cards = [good(n) for n in range(8)]
    cards[3] = Gpu(index=3, failure="Unknown Error", failure_code=999)
    assert [s for _, s in statuses("gpu.not-responding", *cards)] == ["pass"] * 3 + ["fail"] + ["pass"] * 4
    assert ("gpu:3", "skip") in statuses("gpu.ecc-off", *cards)


def test_a_broken_gpu_that_was_not_chosen_is_a_warning() -> None:
    lost = Gpu(index=1, failure="GPU is lost", failure_code=15)
    assert statuses("gpu.not-responding", good(0), lost, target=Target(gpus=(0,)))[1] == ("gpu:1", "warn")


def test_a_reset_is_offered_only_where_it_helps() -> None:
    def commands(code: int | None) -> list[str | None]:
        card = Gpu(index=0, failure="x", failure_code=code)
        (result,) = judge_check("gpu.not-responding", gpus=Gpus(gpus=(card,)))
        return [step.command for step in result.finding.fix]

    assert any("gpu-reset" in str(command) for command in commands(16))
    assert not any("gpu-reset" in str(command) for command in commands(15))


@pytest.mark.parametrize(
    ("kind", "expected"), [("error", "fail"), ("timeout", "fail"), ("not-supported", "pass"), ("not-recorded", "pass")]
)
def test_a_gpu_that_answers_in_part(kind: Any, expected: str) -> None:
    card = good(0, temperature_celsius=Unavailable("Unknown Error", kind))
    assert statuses("gpu.not-responding", card) == [("gpu:0", expected)]


@pytest.mark.parametrize(("want", "expected"), [(None, "skip"), (2, "pass"), (3, "fail"), (1, "warn"), (0, "warn")])
def test_count(want: int | None, expected: str) -> None:
    assert statuses("gpu.count-short", good(0), good(1), target=Target(expect_gpus=want)) == [("host", expected)]


def test_before_the_driver_is_installed_the_bus_is_counted() -> None:
    card = PciDevice(address="0000:1a:00.0", vendor="10de", device="2330", class_code="0302")
    nothing = Gpus(error_code=12, error="NVML Shared Library Not Found")
    for want, expected in ((1, "skip"), (2, "fail")):
        target = Target(stage="pre-install", expect_gpus=want)
        (result,) = judge_check("gpu.count-short", target=target, gpus=nothing, pci=Pci(devices=(card,)))
        assert result.status == expected


def test_count_names_what_fell_off_the_bus() -> None:
    lost = KernelEvent(kind="xid", code=79, address="0000:1a:00", text="x")
    log = KernelLog(source="kmsg", from_boot=True, events=(lost,))
    (result,) = judge_check(
        "gpu.count-short", target=Target(expect_gpus=2), gpus=Gpus(gpus=(good(0),)), kernel_log=log
    )
    assert any(e.value == ("0000:1a:00",) for e in result.finding.evidence)


def test_no_power_plug() -> None:
    card = Gpu(index=0, failure="insufficient power", failure_code=8)
    assert statuses("gpu.power-limited", card) == [("gpu:0", "fail")]
    assert statuses("gpu.power-limited", Gpu(index=0, failure="x", failure_code=999)) == [("gpu:0", "skip")]
