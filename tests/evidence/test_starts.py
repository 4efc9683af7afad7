"""Remedies for want of memory carry the context that fits the model and the GPUs in the paste, or none at all."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpudoctor.evidence.engine_start import started

Command = Callable[..., subprocess.CompletedProcess[str]]

OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"
TWO_A100 = "GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-1111aaaa-0)\nGPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-1111aaaa-1)\n"
FOUR_4090 = "".join(f"GPU {n}: NVIDIA GeForce RTX 4090 (UUID: GPU-1111aaaa-{n})\n" for n in range(4))
LOG = (
    "(EngineCore_DP0 pid=71) INFO 09-03 16:28:23 [core.py:75] Initializing a V1 LLM engine (v0.10.2) with config: "
    "model='Qwen/Qwen3-32B', speculative_config=None, tokenizer='Qwen/Qwen3-32B', dtype=torch.bfloat16, "
    "max_seq_len=40960, tensor_parallel_size={tp}, pipeline_parallel_size=1, quantization=None, enforce_eager=False\n"
)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (LOG.format(tp=2), {"engine": "vllm", "model": "Qwen/Qwen3-32B", "tensor_parallel": "2", "context": "40960"}),
        ("INFO [utils.py:328] non-default args: {'model_tag': '/data/hf/Qwen2.5-0.5B/', 'tensor_parallel_size': 2}",
         {"model": "hf/Qwen2.5-0.5B", "tensor_parallel": "2"}),
        ("model='/home/a/.cache/huggingface/hub/models--Qwen--Qwen3-32B/snapshots/26291f'  LLM engine", {}),
        ("server_args=ServerArgs(model_path='Qwen/Qwen3-32B', tp_size=2, mem_fraction_static=0.85, dtype='auto')",
         {"engine": "sglang", "tensor_parallel": "2", "gpu_memory_utilization": "0.85"}),
        ("docker run --gpus all vllm/vllm-openai:v0.10.1 --model Qwen/Qwen3-32B -tp=4", {"tensor_parallel": "4"}),
        ("$ vllm serve /root/.cache/huggingface/hub/models--Qwen--Qwen3-32B/snapshots/9216 --max-model-len 8192",
         {"model": "Qwen/Qwen3-32B", "context": "8192"}),
        ("text-generation-launcher --model-id Qwen/Qwen3-32B --num-shard 2", {"engine": "tgi", "tensor_parallel": "2"}),
        ("ollama run gpt-oss:120b", {"engine": "ollama", "model": "gpt-oss:120b"}),
        ("vllm serve 'Qwen/Qwen3-32B --tp 2", {"engine": "vllm"}),
    ],
)  # fmt: skip
def test_a_start_is_understood(line: str, told: dict[str, str]) -> None:
    found = started(line)
    assert {name: found.get(name) for name in told} == told
    assert told or not found


@pytest.fixture
def words(gpudoctor: Command, tmp_path: Path) -> Callable[[str], str]:
    """What the first finding says is to be done."""

    def run(text: str) -> str:
        (tmp_path / "paste.txt").write_text(text, encoding="utf-8")
        report = json.loads(gpudoctor("diagnose", "paste.txt", "--json", cwd=tmp_path).stdout)
        return " ".join(f"{step['text']} {step['command']}" for step in report["results"][0]["fix"])

    return run


def test_the_context_that_fits_is_computed(words: Callable[[str], str], gpudoctor: Command) -> None:
    asked = gpudoctor("fit", "Qwen/Qwen3-32B", "--engine", "vllm", "--engine-version", "0.10.2", "--hardware",
                      "2x A100-SXM4-80GB", "--tensor-parallel", "2", "--context", "max", "--json")  # fmt: skip
    most = json.loads(asked.stdout)["limits"]["max_context"]
    said = words("vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 --max-model-len 131072\n" + OOM + TWO_A100)
    assert f"--max-model-len {most} " in said


def test_more_gpus_are_named_where_they_help(words: Callable[[str], str]) -> None:
    assert "It does not fit on 1 of the GPUs; on 4 it does" in words(LOG.format(tp=1) + OOM + FOUR_4090)


def test_what_fits_was_crowded_out(words: Callable[[str], str]) -> None:
    said = words(LOG.format(tp=2).replace("40960", "8192") + OOM + TWO_A100)
    assert "the 8192 tokens that were asked for fit" in said


def test_a_model_that_fits_at_no_context_is_named(words: Callable[[str], str]) -> None:
    said = words("vllm serve Qwen/Qwen3-32B\n" + OOM + "GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-1111aaaa-0)\n")
    assert "fits on 1x GeForce RTX 4090 at no context" in said


def test_ollama_s_context_is_computed(words: Callable[[str], str]) -> None:
    cards = FOUR_4090.replace("GeForce RTX 4090", "RTX A6000")
    said = words("ollama run llama3.3:70b\nollama: CUDA error: out of memory\n" + cards.split("GPU 1")[0])
    assert re.search(r"OLLAMA_CONTEXT_LENGTH=\d+ |fits on 1x RTX A6000 at no context", said)


@pytest.mark.parametrize("text", ["vllm: " + OOM, "ollama: CUDA error: out of memory", OOM])
def test_without_model_and_gpus_no_figure_is_made_up(words: Callable[[str], str], text: str) -> None:
    said = words(text)
    assert "gpudoctor fit MODEL" in said
    assert not re.search(r"max-model-len \d|CONTEXT_LENGTH=\d|max-num-seqs \d", said)


def test_a_name_is_no_command(words: Callable[[str], str]) -> None:
    assert "rm -rf" not in words("vllm serve 'a/b; rm -rf ~' --tensor-parallel-size 2\n" + OOM + TWO_A100)
