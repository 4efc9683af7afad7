"""What GPU generation, driver, version and head counts forbid, whatever the memory."""

import pytest

from gpudoctor.fit import sources
from gpudoctor.fit.hardware import Hardware, named
from gpudoctor.fit.prediction import Reason
from gpudoctor.fit.rules import refusals
from gpudoctor.fit.settings import Settings


def refused(
    name: str, hardware: str, driver: str | None = None, quant: str | None = None, **flags: object
) -> list[Reason]:
    settings = Settings(quant=quant, **flags)  # type: ignore[arg-type]
    form = "gguf" if settings.engine in ("ollama", "llama.cpp") else "safetensors"
    model = sources.load(name, form=form, quant=quant)  # type: ignore[arg-type]
    return list(refusals(model, settings, Hardware(named(hardware)[0], driver=driver)))


@pytest.mark.parametrize(
    ("name", "hardware", "driver", "quant", "flags", "ids"),
    [
        # MXFP4 in vLLM needs 8.0 (Turing: use Ollama); the model itself came with 0.10.1.
        ("openai/gpt-oss-20b", "Quadro RTX 8000", None, None, {"engine": "vllm", "version": "0.11.0"},
         {"engine.quant-unsupported", "engine.dtype-unsupported"}),
        ("openai/gpt-oss-120b", "H100 80GB", None, None, {"engine": "vllm", "version": "0.6.6"},
         {"engine.model-unknown", "engine.quant-unsupported"}),
        ("openai/gpt-oss-20b", "A100 40GB", None, None, {"engine": "vllm", "version": "0.11.0"}, set()),
        ("openai/gpt-oss-20b", "H100 80GB", None, None, {"engine": "vllm", "version": "0.10.1"}, set()),
        ("gpt-oss:20b", "Quadro RTX 8000", "535.247.01", None, {"engine": "ollama", "version": "0.11.10"}, set()),
        ("gpt-oss:20b", "Quadro RTX 8000", "535.247.01", None, {"engine": "ollama", "version": "0.32.15"},
         {"engine.driver-too-old"}),
        ("gpt-oss:20b", "Quadro RTX 8000", "550.54.15", None, {"engine": "ollama", "version": "0.32.15"}, set()),
        ("gpt-oss:20b", "RTX 4090", None, None, {"engine": "ollama", "version": "0.10.1"}, {"engine.model-unknown"}),
        ("meta-llama/Llama-3.1-8B-Instruct", "Tesla P40", None, None, {"engine": "vllm", "version": "0.11.0"},
         {"engine.gpu-unsupported"}),
        ("meta-llama/Llama-3.1-8B-Instruct", "T4", None, None, {"engine": "vllm", "version": "0.11.0", "dtype": "bf16"},
         {"engine.dtype-unsupported"}),
        ("meta-llama/Llama-3.1-8B-Instruct", "T4", None, None, {"engine": "vllm", "version": "0.11.0"}, set()),
        ("meta-llama/Llama-3.1-8B-Instruct", "T4", None, "FP8", {"engine": "vllm", "version": "0.11.0"},
         {"engine.quant-unsupported"}),
        ("meta-llama/Llama-3.1-8B-Instruct", "L4", "535.247.01", None, {"engine": "vllm", "version": "0.33.0"},
         {"engine.driver-too-old"}),
        ("meta-llama/Llama-3.1-8B-Instruct", "L4", "580.95.05", None, {"engine": "vllm", "version": "0.33.0"}, set()),
        ("microsoft/phi-4", "4x RTX 4090", None, None, {"engine": "vllm", "version": "0.11.0", "tensor_parallel": 4},
         {"engine.parallel-indivisible"}),
        ("Qwen/Qwen2.5-7B-Instruct", "8x RTX 4090", None, None,
         {"engine": "vllm", "version": "0.11.0", "tensor_parallel": 8}, {"engine.parallel-indivisible"}),
        ("meta-llama/Llama-3.1-8B-Instruct", "16x RTX 4090", None, None,
         {"engine": "vllm", "version": "0.11.0", "tensor_parallel": 16}, set()),
        ("llama3.1:8b", "RTX 4090", None, None,
         {"engine": "llama.cpp", "kv_cache_type": "q8_0", "flash_attention": False}, {"engine.quant-unsupported"}),
        ("openai/whisper-large-v3", "L4", None, None, {"engine": "ollama", "version": "0.32.15"},
         {"engine.model-unknown"}),
        ("Qwen/Qwen3-8B", "Radeon Pro W6800", None, None, {"engine": "vllm", "version": "0.33.0"},
         {"engine.gpu-unsupported"}),
        ("Qwen/Qwen3-8B", "Instinct MI300X", None, None, {"engine": "vllm", "version": "0.33.0"}, set()),
        ("llama3.1:8b", "Radeon Pro W6800", None, None, {"engine": "ollama", "version": "0.32.15"}, set()),
        # A release or driver that nobody knows is never refused.
        ("gpt-oss:20b", "RTX 4090", "not a version", None, {"engine": "ollama", "version": "0.32.15"}, set()),
        ("openai/gpt-oss-20b", "A100 40GB", "999.1", None, {"engine": "vllm", "version": "7.0"}, set()),
    ],
)  # fmt: skip
def test_refusals(
    name: str, hardware: str, driver: str | None, quant: str | None, flags: dict[str, object], ids: set[str]
) -> None:
    reasons = refused(name, hardware, driver, quant, **flags)
    assert {reason.check for reason in reasons} == ids
    for reason in reasons:
        assert reason.status == "fail"
        assert reason.steps
