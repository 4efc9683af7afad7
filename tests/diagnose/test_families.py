"""Each way of saying a thing leads to the id of its cause, first."""

import io
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.checking.diagnosis import ranked, with_log
from gpudoctor.checking.plugins import load_checks
from gpudoctor.checking.policy import load_policy
from gpudoctor.checking.run import run_checks
from gpudoctor.checking.target import Target
from gpudoctor.checking.verdict import Judgement, judge
from gpudoctor.evidence.paste import Paste
from gpudoctor.facts.signatures import Signatures

CHECKS = load_checks().checks
POLICY = load_policy([], [])


def read_families() -> list[tuple[tuple[str, ...], str]]:
    cases: list[tuple[tuple[str, ...], str]] = []
    ids: tuple[str, ...] = ()
    for line in (Path(__file__).parent / "families.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            ids = tuple(line.split()[1:])
        elif line and ids:
            cases.append((ids, line.replace("\\n", "\n").replace("\\t", "\t")))
    return cases


CASES = read_families()


def judged(text: str) -> Judgement:
    paste = Paste()
    paste.feed(io.BytesIO(text.encode()), "paste.txt")
    facts = paste.snapshot()
    results = run_checks(CHECKS, facts, Target(), POLICY)
    results = with_log(results, CHECKS, facts, {check.id for check in CHECKS})
    judgement = judge(results, policy=POLICY, gatekeepers={})
    return msgspec.structs.replace(judgement, results=ranked(judgement.results))


def bad_ids(text: str) -> list[str]:
    return [r.id for r in judged(text).results if r.status in ("fail", "warn", "unknown")]


def statuses(text: str, status: str) -> list[str]:
    return [r.id for r in judged(text).results if r.status == status]


@pytest.mark.parametrize(("ids", "text"), CASES, ids=[text[:60] for _, text in CASES])
def test_the_cause_is_named_first(ids: tuple[str, ...], text: str) -> None:
    found = bad_ids(text)
    assert found[:1] in [[each] for each in ids]


@pytest.mark.parametrize("line", (Path(__file__).parent / "harmless.txt").read_text(encoding="utf-8").splitlines())
def test_a_line_of_a_healthy_log_proves_nothing(line: str) -> None:
    paste = Paste()
    paste.feed(io.BytesIO(line.encode()), "paste.txt")
    log = paste.snapshot().signatures
    assert isinstance(log, Signatures)
    assert log.matches == ()


def read_healthy() -> list[tuple[str, str]]:
    text = (Path(__file__).parent / "healthy.txt").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^== (.*)\n", text)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize(("name", "text"), read_healthy(), ids=[name for name, _ in read_healthy()])
def test_nobody_healthy_is_accused(name: str, text: str) -> None:
    assert statuses(text, "fail") == []


@pytest.mark.parametrize(
    "name", ["vllm-v1-startup", "sglang-startup", "tgi-startup", "llama-cpp-startup", "ollama-startup", "kernel-boot"]
)
def test_a_healthy_log_is_called_so_and_no_more(name: str) -> None:
    text = dict(read_healthy())[name]
    assert statuses(text, "unknown") == []
    said = [r.finding for r in judged(text).results if r.id == "serving.load-failed"]
    assert [(each.status, each.params["lines"]) for each in said] == [("pass", text.count("\n"))]


@pytest.mark.parametrize("name", ["poem", "shell-history"])
def test_what_is_not_known_is_no_pass(name: str) -> None:
    assert statuses(dict(read_healthy())[name], "unknown") == ["serving.load-failed"]


def test_an_error_that_is_not_known_is_no_pass() -> None:
    log = dict(read_healthy())["vllm-v1-startup"] + "FrobnicationError: the flux is not aligned\n"
    assert statuses(log, "unknown") == ["serving.load-failed"]


PARTS = (
    "GPU 0: NVIDIA ", "NVIDIA-SMI 535.1  Driver Version: ", "PyTorch version: ", "|   0  Tesla T4   Off  | ", "\n",
    ": ", "99999999999999999999", "torch==", "CUDA Version: ", "compute capability: ", "divisible by ",
    "offloaded 0/",
    "(1.0.0/0 GiB)", "is less than desired GPU memory utilization (", "attention heads (0) must be divisible by (0)",
    "Free memory on device (nan/inf GiB)", "Xid (PCI:0000:01:00): ", "\u0660", "{0}", "secure boot: on", "WSL2 ",
    "NVRM: ",
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=20))
def test_no_mixture_breaks_it(parts: list[str]) -> None:
    bad_ids("".join(parts))
