"""Where a line has several causes, diagnose asks for what decides; with that pasted, too, it decides."""

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpudoctor.evidence.paste import Paste
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import told
from gpudoctor.matrices import signatures
from tests.diagnose.test_families import bad_ids

Command = Callable[..., subprocess.CompletedProcess[str]]

#: A line that has several causes, under the check whose question it raises.
LINES = {
    "container.gpu-lost": "Failed to initialize NVML: Unknown Error",
    "driver.uvm-broken": "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment",
    "env.visible-devices": "RuntimeError: No CUDA GPUs are available",
    "driver.not-loaded": "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    "stack.forward-compat": "Error 803: system has unsupported display driver / cuda driver combination",
    "gpu.xid": "torch.AcceleratorError: CUDA error: unspecified launch failure",
    "docker.no-gpu-path": 'could not select device driver "" with capabilities: [[gpu]]',
    "gpu.p2p-broken": "all_reduce_perf hangs",
    "serving.offload-partial": "load_tensors: offloaded 0/37 layers to GPU\nollama version is 0.31.0",
}
QUESTIONS = signatures.table().question
ANSWERS = [(question.check, answer.example, answer.means) for question in QUESTIONS for answer in question.answers]


def asked(check: str, text: str) -> bool:
    paste = Paste()
    paste.feed(io.BytesIO(text.encode()), "paste.txt")
    facts = paste.snapshot()
    assert isinstance(facts.signatures, Signatures)
    question = signatures.questions()[check]
    return any(step.text.startswith(question.ask) for finding in told(facts.signatures, check, facts)
               for step in finding.fix)  # fmt: skip


def test_every_question_has_a_line() -> None:
    assert {question.check for question in QUESTIONS} == set(LINES)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.check)
def test_a_question_holds_together(question: signatures.Question) -> None:
    own = {key for key, each in signatures.by_key().items() if each.check == question.check}
    assert set(question.signatures) <= own
    assert question.ask.endswith("?")
    assert len(question.answers) > 1


@pytest.mark.parametrize(("check", "line"), LINES.items(), ids=list(LINES))
def test_undecided_is_asked(check: str, line: str) -> None:
    assert asked(check, line)


@pytest.mark.parametrize(("check", "example", "means"), ANSWERS, ids=[f"{c}-{m}" for c, _, m in ANSWERS])
def test_what_was_asked_for_decides(check: str, example: str, means: str) -> None:
    text = f"{LINES[check]}\n{example}"
    assert bad_ids(text)[0] == means
    assert not asked(check, text)


def test_a_question_is_in_both_reports(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "paste.txt").write_text(LINES["container.gpu-lost"], encoding="utf-8")
    first = json.loads(gpudoctor("diagnose", "paste.txt", "--json", cwd=tmp_path).stdout)["results"][0]
    question = signatures.questions()["container.gpu-lost"]
    assert first["fix"][0]["text"].startswith(question.ask)
    assert first["fix"][0]["command"] == question.command
    assert [each["value"] for each in first["evidence"] if each["what"] == "causes left"] == [
        ["container.gpu-lost", "gpu.not-responding"]
    ]
    assert question.ask in " ".join(gpudoctor("diagnose", "paste.txt", cwd=tmp_path).stdout.split())
