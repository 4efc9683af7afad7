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
        ("vllm: CUDA out of memory. Tried to allocate 2.00 GiB.", "--gpu-memory-utilization 0.85 "),
        ("[TP0] server_args=ServerArgs(model_path='x')\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate "
         "448.00 MiB. GPU 7 has a total capacity of 95.00 GiB of which 120.00 MiB is free.",
         "--mem-fraction-static 0.83 "),
        ("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB of which 1.05 GiB is "
         "free. Process 12345 has 10.20 GiB memory in use.", "holds 10.20 GiB of it: stop that first"),
        (FREE.replace("18.00", "3.21"), "of 24 GiB only 3.21 are free"),
        ("failed to bind port 0.0.0.0:11434/tcp: listen tcp4 0.0.0.0:11434: bind: address already in use",
         "'sport = :11434'"),
        ("/usr/bin/ld: cannot find -lcuda: No such file or directory", "ln -s libcuda.so.1 "),
        ("gpt-oss:120b    a951a23b46a1    68 GB    31%/69% CPU/GPU    8192    Forever",
         "gpudoctor fit gpt-oss:120b --engine ollama"),
        ("Call to posix_fallocate failed: No space left on device\ntensor parallel: 8", "--shm-size=16g"),
    ],
)  # fmt: skip
def test_the_figure_fits_the_paste(first: Callable[[str], dict[str, Any]], text: str, says: str) -> None:
    assert says in words(first(text)) + " "


def test_absurd_figures_are_left_alone(first: Callable[[str], dict[str, Any]]) -> None:
    text = FREE.replace("18.00/24.00", "99.00/0.001")
    assert "nan" not in words(first(text))
    assert "memory.free" in words(first(text))


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


def test_another_engines_flags_are_not_recommended(first: Callable[[str], dict[str, Any]]) -> None:
    assert "vllm" not in words(first("[TP0] server_args=ServerArgs(model_path='x')\nCUDA out of memory."))


def test_no_gpu_is_chosen_for_a_reset(first: Callable[[str], dict[str, Any]]) -> None:
    assert "-i GPU_NUMBER" in words(first("Row Remapper: New row marked for remapping, reset gpu to activate."))
