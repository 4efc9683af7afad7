"""Taking a snapshot: what runs when, and what becomes of facts that do not fit."""

from collections.abc import Sequence
from typing import Any

import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes import take
from gpudoctor.probes.runner import ProbeAnswer, ProbeSpec
from gpudoctor.probes.take import take_snapshot

SPECS = (
    ProbeSpec(name="cuda", modules=("cuda",), sections=("cuda",), deep=True),
    ProbeSpec(name="nvml", modules=("nvml",), sections=("gpus",)),
    ProbeSpec(name="clock", modules=("host",), sections=("clock",)),
)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []

    def run_probes(specs: Sequence[ProbeSpec], **_: Any) -> list[ProbeAnswer]:
        calls.append([spec.name for spec in specs])
        return [ProbeAnswer(name=spec.name, sections={spec.sections[0]: {"count": "eight"}}) for spec in specs]

    monkeypatch.setattr(take, "PROBES", SPECS)
    monkeypatch.setattr(take, "run_probes", run_probes)
    return calls


def test_what_uses_the_gpus_comes_last_and_only_when_asked(ran: list[list[str]]) -> None:
    take_snapshot(deep=True)
    assert ran == [["nvml", "clock"], ["cuda"]]
    ran.clear()
    take_snapshot()
    assert ran == [["nvml", "clock"]]


def test_only_the_probes_of_the_sections_asked_for(ran: list[list[str]]) -> None:
    take_snapshot(sections={"clock", "cuda"})
    assert ran == [["clock"]]


def test_facts_of_a_wrong_type_are_a_reason(ran: list[list[str]]) -> None:
    gpus = take_snapshot(sections={"gpus"}).gpus
    assert isinstance(gpus, Unavailable)
    assert gpus.reason.startswith("the nvml probe left it incomplete: ")
    assert "$.count" in gpus.reason
