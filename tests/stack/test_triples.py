"""The table of true answers, judged by the same checks that ``check`` and ``compat`` run."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from gpudoctor.checking.finding import Result
from gpudoctor.checking.plugins import load_checks
from gpudoctor.checking.policy import default_policy
from gpudoctor.checking.target import parse_engine
from gpudoctor.compat.answer import answer
from gpudoctor.compat.machine import cards_named, named


def beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TRIPLES = beside("triples")
CATALOGUE = load_checks()


def judged(driver: str, card: str, requirement: str) -> list[Result]:
    name, _, machine = card.partition("@")
    facts = named(cards_named(name), driver, machine or "x86_64")
    return answer(parse_engine(requirement), None, facts, default_policy(), CATALOGUE)


def verdict(results: list[Result]) -> str:
    failed = {r.id for r in results if r.status == "fail"}
    warned = {r.id for r in results if r.status == "warn"} - {"driver.gpu-unsupported"}
    unknown = {r.id for r in results if r.status == "unknown"}
    if "torch.cpu-only" in failed:
        return "cpu-build"
    if failed:
        words = []
        if failed & {"engine.gpu-unsupported", "torch.arch-missing"}:
            words.append("gpu")
        if failed & {"engine.driver-too-old", "torch.driver-too-old", "stack.cuda-too-new"}:
            aside = any("leaves GPUs" in r.finding.message for r in results if r.status == "fail")
            words.append("cpu" if aside else "driver")
        return "+".join(words) or "failed"
    if unknown:
        return "unknown"
    if any("cuda-compat" in r.finding.message for r in results if r.status == "warn"):
        return "compat"
    if "torch.arch-missing" in warned:
        return "index"
    if "stack.ptx-too-new" in warned:
        return "ptx"
    return "limits" if warned else "runs"


@pytest.mark.parametrize(("driver", "card", "requirement", "truth", "source"), TRIPLES.rows())
def test_the_true_answer(driver: str, card: str, requirement: str, truth: str, source: str) -> None:
    assert source in TRIPLES.SOURCES
    results = judged(driver, card, requirement)
    assert verdict(results) == truth, [(r.id, r.status, r.finding.message) for r in results if r.status != "pass"]


def test_the_table_is_large_and_says_everything_once() -> None:
    rows = TRIPLES.rows()
    assert len(rows) >= 150
    assert len({row[:3] for row in rows}) == len(rows)
    assert {row[3] for row in rows} >= {"runs", "driver", "gpu", "cpu", "cpu-build", "index", "compat", "unknown"}
