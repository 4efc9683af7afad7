"""Remedies carry figures computed from the paste, and a line of many findings is told once."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def first(gpudoctor: Command, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    def run(text: str) -> dict[str, Any]:
        (tmp_path / "paste.txt").write_text(text, encoding="utf-8")
        result: dict[str, Any] = json.loads(gpudoctor("diagnose", "paste.txt", "--json", cwd=tmp_path).stdout)
        return result["results"][0]  # type: ignore[no-any-return]

    return run


def words(result: dict[str, Any]) -> str:
    return " ".join(f"{step['text']} {step['command']}" for step in result["fix"])


HEADS = "ValueError: Total number of attention heads (52) must be divisible by tensor parallel size (8)."
FREE = (
    "Free memory on device (18.00/24.00 GiB) on startup is less than desired GPU memory utilization (0.9, 21.60 GiB)."
)
ESTIMATE = (
    "ValueError: To serve at least one request with the models's max seq len (131072), (9.00 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (4.50 GiB)."
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEADS, "--tensor-parallel-size 4 "),
        (HEADS, "1, 2, 4"),
        (FREE, "--gpu-memory-utilization 0.74 "),
        (ESTIMATE, "--max-model-len 65536 "),
        (ESTIMATE[:-1] + ". The estimated maximum model length is 60000.", "--max-model-len 60000 "),
        ("The model's max seq len (131072) is larger than the maximum number of tokens that can be stored in KV cache "
         "(26544).", "--max-model-len 26544 "),
        ("unsatisfied condition: cuda>=12.8\nNvidia driver version: 515.65.01", "515.65.01"),
        ("unsatisfied condition: cuda>=12.8\nNvidia driver version: 515.65.01", "525.60.13"),
        ("This model's maximum context length is 8192 tokens. However, you requested 9000 tokens",
         "--max-model-len 10240 "),
        ('source=runner.go msg="truncating input prompt" limit=2048 prompt=5120 keep=4', "OLLAMA_CONTEXT_LENGTH=6144 "),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 20.00 "
         "GiB of which 512.00 MiB is free.", "--gpu-memory-utilization 0.81 "),
        ("CUDA out of memory. Tried to allocate 2.00 GiB.", "--gpu-memory-utilization 0.85 "),
        ("Call to posix_fallocate failed: No space left on device\ntensor parallel: 8", "--shm-size=16g"),
    ],
)  # fmt: skip
def test_the_figure_fits_the_paste(first: Callable[[str], dict[str, Any]], text: str, says: str) -> None:
    assert says in words(first(text)) + " "


def test_absurd_figures_are_left_alone(first: Callable[[str], dict[str, Any]]) -> None:
    text = FREE.replace("18.00/24.00", "99.00/0.001")
    assert "nan" not in words(first(text))
    assert "0.8" in words(first(text))


def test_what_looks_like_the_cause_and_is_not(first: Callable[[str], dict[str, Any]]) -> None:
    result = first("AssertionError: Torch not compiled with CUDA enabled\ndriver cuda: 12.8")
    assert [each["value"] for each in result["evidence"] if each["what"] == "not the cause"]


def test_both_versions_are_told(first: Callable[[str], dict[str, Any]]) -> None:
    result = first(
        "[12.5] NVRM: API mismatch: the client has the version 550.163.01, but\n"
        "       NVRM: this kernel module has the version 550.144.03.  Please\n"
    )
    assert result["message"] == "the loaded module is 550.144.03, the library 550.163.01"
    assert len({each["value"] for each in result["evidence"]}) == len(result["evidence"])
