"""Temperature, throttling, power limits and supplies."""

from typing import Any

import pytest

from gpudoctor.checking.target import Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.testing import judge_check

NONE = Unavailable("this GPU has none", "not-supported")
OLD = Unavailable("the driver does not know it", "driver-too-old")


def status(check_id: str, target: Target | None = None, **facts: Any) -> str:
    gpu = Gpu(index=0, **{"name": "NVIDIA GeForce RTX 4090", **facts})
    (result,) = judge_check(check_id, target=target, gpus=Gpus(count=1, gpus=(gpu,)))
    return result.status


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"thermal_margin_celsius": 0, "temperature_celsius": 90}, "fail"),
        ({"thermal_margin_celsius": -2}, "fail"),
        ({"thermal_margin_celsius": 10, "utilization_percent": 0}, "warn"),
        ({"thermal_margin_celsius": 10, "utilization_percent": 100}, "pass"),
        ({"thermal_margin_celsius": 10}, "pass"),
        ({"thermal_margin_celsius": 5, "clock_event_samples": (1, 1, 1)}, "warn"),
        ({"thermal_margin_celsius": OLD, "temperature_celsius": 83, "slowdown_celsius": 93}, "pass"),
        ({"thermal_margin_celsius": OLD, "temperature_celsius": 83, "slowdown_celsius": 83}, "fail"),
        ({"thermal_margin_celsius": NONE, "temperature_celsius": 83, "slowdown_celsius": NONE}, "skip"),
    ],
)
def test_heat_is_judged_by_the_gpus_own_limit(facts: dict[str, Any], expected: str) -> None:
    assert status("gpu.too-hot", **facts) == expected


@pytest.mark.parametrize(
    ("temperature", "limit", "expected"), [(80, 95, "pass"), (90, 95, "warn"), (95, 95, "fail"), (80, NONE, "skip")]
)
def test_memory_heat(temperature: int, limit: Any, expected: str) -> None:
    assert status("gpu.memory-too-hot", memory_temperature_celsius=temperature, memory_max_celsius=limit) == expected


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ((0x0,) * 6, "pass"),
        ((0x1,) * 6, "pass"),
        ((0x4,) * 6, "info"),
        ((0x2,) * 6, "info"),
        ((0x10,) * 6, "info"),
        ((0x100,) * 6, "info"),
        ((0x200,) * 6, "info"),
        ((0x400,) * 6, "info"),
        ((1 << 40,) * 6, "info"),
        ((0x8,) * 6, "warn"),
        ((0x20,) * 6, "fail"),
        ((0x44,) * 6, "fail"),
        ((0x48,) * 6, "fail"),
        ((0x81,) * 6, "fail"),
        ((0x40, 0x40, 0x40, 0, 0, 0), "pass"),
        ((0x40, 0x40, 0x40, 0x40, 0, 0), "fail"),
        ((0x8, 0, 0, 0, 0, 0), "pass"),
        ((0x40,) * 4, "skip"),
        ((), "skip"),
        (NONE, "skip"),
    ],
)
def test_throttling_is_judged_by_what_lasts(samples: Any, expected: str) -> None:
    assert status("gpu.throttled", clock_event_samples=samples) == expected


@pytest.mark.parametrize("state", [2, 8])
def test_performance_states_are_not_throttling(state: int) -> None:
    samples = (0,) * 6
    assert status("gpu.throttled", clock_event_samples=samples, performance_state=state) == "pass"


def test_heat_since_the_driver_loaded_is_a_note_on_a_gpu_that_is_cool_now() -> None:
    idle = (0x1,) * 6
    assert status("gpu.throttled", clock_event_samples=idle, thermal_slowdown_seconds=5400.0) == "info"
    assert status("gpu.throttled", clock_event_samples=idle, thermal_slowdown_seconds=2.0) == "pass"
    assert status("gpu.throttled", clock_event_samples=(0x40,) * 6, thermal_slowdown_seconds=5400.0) == "fail"


@pytest.mark.parametrize(
    ("enforced", "default", "expected"),
    [(450.0, 450.0, "pass"), (449.5, 450.0, "pass"), (300.0, 450.0, "warn"), (500.0, 450.0, "pass"),
     (300.0, NONE, "skip"), (Unavailable("no rights", "no-permission"), 450.0, "unknown")],
)
def test_power_limit(enforced: Any, default: Any, expected: str) -> None:
    assert status("gpu.power-limited", power_enforced_watts=enforced, power_default_watts=default) == expected


@pytest.mark.parametrize(
    ("fan", "temperature", "load", "expected"),
    [(0, 45, 0, "info"), (0, 40, 0, "pass"), (30, 45, 0, "pass"), (0, 45, 90, "skip"), (NONE, 45, 0, "skip")],
)
def test_idle_heat_is_a_note(fan: Any, temperature: int, load: int, expected: str) -> None:
    facts: dict[str, Any] = {"fan_percent": fan, "temperature_celsius": temperature, "utilization_percent": load}
    assert status("gpu.idle-hot", **facts) == expected


@pytest.mark.parametrize(
    ("watts", "supply", "expected"),
    [
        ({"power_enforced_watts": 450.0}, None, "skip"),
        ({"power_enforced_watts": 450.0}, 700, "fail"),
        ({"power_enforced_watts": 450.0}, 850, "warn"),
        ({"power_enforced_watts": 450.0}, 1000, "pass"),
        ({"power_enforced_watts": 300.0}, 850, "pass"),
        ({"power_enforced_watts": NONE}, 700, "fail"),
        ({"power_enforced_watts": NONE, "name": "A card of next year"}, 2000, "unknown"),
    ],
)
def test_supply(watts: dict[str, Any], supply: int | None, expected: str) -> None:
    assert status("gpu.psu-short", target=Target(psu_watts=supply), **watts) == expected


def test_supply_counts_every_gpu() -> None:
    cards = tuple(Gpu(index=n, name="x", power_enforced_watts=450.0) for n in range(2))
    (result,) = judge_check("gpu.psu-short", target=Target(psu_watts=1100, gpus=(0,)), gpus=Gpus(gpus=cards))
    assert result.status == "fail"


@pytest.mark.parametrize(("supply", "ways"), [(1200, ["sudo nvidia-smi -pl {watts}"]), (850, [])])
def test_a_lower_limit_is_offered_only_where_it_is_enough(supply: int, ways: list[str]) -> None:
    cards = tuple(Gpu(index=n, name="x", power_enforced_watts=450.0) for n in range(2))
    (result,) = judge_check("gpu.psu-short", target=Target(psu_watts=supply), gpus=Gpus(gpus=cards))
    assert [step.command for step in result.finding.fix if step.command] == ways
