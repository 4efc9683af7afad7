"""Engines against GPUs, drivers and models; variables that hide, break, or do nothing. Many rows are guides' errors."""

from typing import Any

import pytest
from msgspec.structs import replace

from gpudoctor.checking.target import Target, parse_engine
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import EngineBinary, Engines
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host
from gpudoctor.testing import judge_check

HOST = Host(hostname="gpu01", architecture="x86_64", virtual_machine=False)
OSS = "openai/gpt-oss-120b"


def gpus(name: str, capability: tuple[int, int], count: int = 4, driver: str = "580.95.05") -> Gpus:
    return Gpus(driver_version=driver, count=count, gpus=tuple(
        Gpu(index=n, name=name, compute_capability=capability) for n in range(count)))


H100 = gpus("NVIDIA H100 80GB HBM3", (9, 0))
TURING = gpus("Quadro RTX 8000", (7, 5))
AMPERE = gpus("NVIDIA A100-SXM4-80GB", (8, 0))


def status(check: str, engine: str, model: str | None = None, here: Gpus = H100, chosen: tuple[int, ...] | None = None,
           **sections: Any) -> list[str]:
    target = Target(engines=(parse_engine(engine),), model=model, gpus=chosen)
    facts = {"host": HOST, "gpus": here, "driver": Driver(loaded_version="580.95.05"), **sections}
    return [r.status for r in judge_check(check, target=target, **facts)]


@pytest.mark.parametrize(("engine", "model", "expected"), [
    ("vllm==0.6.6", OSS, "fail"),  # a guide pins it "while serving gpt-oss-120b"
    ("vllm==0.9.1", OSS, "fail"),  # a guide's benchmark of gpt-oss-120b
    ("vllm==0.10.0", OSS, "fail"), ("vllm==0.10.1", OSS, "pass"), ("vllm==0.33.0", OSS, "pass"),
    ("ollama==0.10.1", "gpt-oss:20b", "fail"), ("ollama==0.11.10", "gpt-oss:20b", "pass"),
    ("sglang==0.5.8", OSS, "pass"), ("vllm==99.0", OSS, "unknown"), ("vllm==0.33.0", "acme/unheard-of", "skip"),
    ("vllm==0.33.0", "meta-llama/Llama-3.1-8B-Instruct", "pass"),
])
def test_model_against_release(engine: str, model: str, expected: str) -> None:
    assert status("engine.model-unknown", engine, model) == [expected]


@pytest.mark.parametrize(("engine", "model", "here", "expected"), [
    ("vllm==0.10.2", OSS, TURING, "fail"), ("vllm==0.33.0", OSS, TURING, "fail"), ("vllm==0.33.0", OSS, AMPERE, "pass"),
    ("vllm==0.33.0", "Qwen/Qwen3-32B-AWQ", TURING, "pass"), ("ollama==0.11.10", "gpt-oss:120b", TURING, "pass"),
    ("vllm==0.33.0", "Qwen/Qwen3-32B", TURING, "pass"), ("vllm==0.12.0", "deepseek-ai/DeepSeek-V3", TURING, "fail"),
])
def test_quantization_against_gpu(engine: str, model: str, here: Gpus, expected: str) -> None:
    assert status("engine.quant-unsupported", engine, model, here) == [expected]


@pytest.mark.parametrize(("engine", "model", "here", "expected"), [
    ("vllm==0.10.2", OSS, TURING, "fail"), ("vllm==0.10.2", "Qwen/Qwen3-32B", TURING, "pass"),
    ("vllm==0.10.2", OSS, AMPERE, "pass"), ("ollama==0.11.10", "gpt-oss:120b", TURING, "skip"),
])
def test_bfloat16_is_missed_only_by_families_that_need_it(engine: str, model: str, here: Gpus, expected: str) -> None:
    assert status("engine.dtype-unsupported", engine, model, here) == [expected]


@pytest.mark.parametrize(("engine", "here", "expected"), [
    ("vllm==0.10.2", TURING, "fail"), ("vllm==0.10.2", AMPERE, "pass"), ("vllm==0.11.0", H100, "pass"),
    ("vllm==0.11.0", TURING, "unknown"), ("vllm==0.12.0", TURING, "pass"),
])
def test_attention_sinks(engine: str, here: Gpus, expected: str) -> None:
    assert status("engine.attention-unsupported", engine, OSS, here) == [expected]


@pytest.mark.parametrize(("chosen", "expected"), [((0, 1), "pass"), ((0, 1, 2), "fail"), ((0, 1, 2, 3), "pass"),
                                                  ((0,), "skip"), (None, "pass")])
def test_heads_divide(chosen: tuple[int, ...] | None, expected: str) -> None:
    assert status("engine.parallel-indivisible", "vllm==0.33.0", OSS, H100, chosen) == [expected]


def test_ollama_in_the_engines_section() -> None:
    found = Engines(engines=(EngineBinary(engine="ollama", path="/usr/local/bin/ollama", version="0.32.15"),))
    old = replace(TURING, driver_version="535.247.01")
    results = judge_check("engine.driver-too-old", host=HOST, gpus=old, engines=found)
    assert [(r.status, r.subject) for r in results] == [("fail", "file:/usr/local/bin/ollama")]
    # A guide runs ollama:latest on 535; what still takes that driver is named.
    assert any(s.command and "OLLAMA_VERSION" in s.command for s in results[0].finding.fix)
    assert {s.params.get("version") for s in results[0].finding.fix if s.params} >= {"0.30.10"}


def test_unknown_ollama_version_is_unknown() -> None:
    found = Engines(engines=(EngineBinary(engine="ollama", path="/usr/local/bin/ollama", version=None),))
    results = judge_check("engine.driver-too-old", host=HOST, gpus=TURING, engines=found)
    assert [r.status for r in results] == ["unknown"]


@pytest.mark.parametrize(("value", "here", "expected"), [
    (None, H100, "skip"), ("", H100, "fail"), ("-1", H100, "fail"), ("0,1", H100, "info"), ("0,1,2,3", H100, "pass"),
    ("4", H100, "fail"), ("0,7", H100, "warn"), ("1,1", H100, "fail"), ("abc", H100, "fail"),
    ("GPU-1234", H100, "info"), ("MIG-1", H100, "skip"),
])
def test_visible_devices(value: str | None, here: Gpus, expected: str) -> None:
    host = replace(HOST, environment={} if value is None else {"CUDA_VISIBLE_DEVICES": value})
    assert [r.status for r in judge_check("env.visible-devices", host=host, gpus=here)] == [expected]


def test_visible_devices_of_the_host_inside_a_container_and_mixed_cards() -> None:
    inside = replace(HOST, container="docker", environment={"CUDA_VISIBLE_DEVICES": "2"})
    one = gpus("NVIDIA L4", (8, 9), 1)
    result = judge_check("env.visible-devices", host=inside, gpus=one)[0]
    assert result.status == "fail"
    assert "container" in result.finding.message
    mixed = Gpus(gpus=(*gpus("NVIDIA L4", (8, 9), 1).gpus, Gpu(index=1, name="Tesla T4", compute_capability=(7, 5))))
    host = replace(HOST, environment={"CUDA_VISIBLE_DEVICES": "0,1"})
    assert [r.status for r in judge_check("env.visible-devices", host=host, gpus=mixed)] == ["warn"]
    ordered = replace(host, environment={**host.environment, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert [r.status for r in judge_check("env.visible-devices", host=ordered, gpus=mixed)] == ["pass"]


@pytest.mark.parametrize(("name", "value", "version", "expected"), [
    ("OLLAMA_NUM_GPU_LAYERS", "37", None, "warn"),  # never existed
    ("OLLAMA_NUM_CTX", "8192", None, "warn"), ("OLLAMA_CONTEXT_LENGTH", "8192", "0.11.10", "pass"),
    ("OLLAMA_CONTEXT_LENGTH", "8192", "0.5.0", "warn"),  # not yet
    ("OLLAMA_MAX_VRAM", "1", "0.11.10", "warn"),  # no longer
    ("OLLAMA_MAX_VRAM", "1", "0.6.8", "pass"), ("OLLAMA_FLASH_ATENTION", "1", None, "warn"),
    ("OLLAMA_SOMETHING_NEW", "1", "9.0.0", "info"),
])
def test_ignored_variables(name: str, value: str, version: str | None, expected: str) -> None:
    host = replace(HOST, environment={name: value})
    target = Target(engines=(parse_engine(f"ollama=={version}"),)) if version else Target()
    assert [r.status for r in judge_check("env.ignored", host=host, target=target)] == [expected]


@pytest.mark.parametrize(("environment", "expected"), [
    ({}, ["pass"]), ({"NCCL_P2P_DISABLE": "1"}, ["warn"]), ({"NCCL_P2P_DISABLE": "0"}, ["pass"]),
    ({"OLLAMA_LLM_LIBRARY": "cpu_avx2"}, ["fail"]), ({"OLLAMA_LLM_LIBRARY": "cuda_v12"}, ["pass"]),
    ({"NCCL_DEBUG": "INFO"}, ["info"]), ({"CUDA_INJECTION64_PATH": "/x.so"}, ["warn"]),
    ({"VLLM_ENABLE_CUDA_COMPATIBILITY": "1"}, ["info"]),
])
def test_harmful_variables(environment: dict[str, str], expected: list[str]) -> None:
    host = replace(HOST, environment=environment)
    assert [r.status for r in judge_check("env.harmful", host=host, gpus=H100)] == expected


@pytest.mark.parametrize(("model", "environment", "expected"), [
    ("meta-llama/Llama-3.1-8B-Instruct", {}, "warn"), ("meta-llama/Llama-3.1-8B-Instruct", {"HF_TOKEN": "set"}, "pass"),
    ("openai/gpt-oss-20b", {}, "skip"), ("google/gemma-3-27b-it", {}, "warn"),
])
def test_token_for_gated_models(model: str, environment: dict[str, str], expected: str) -> None:
    host = replace(HOST, environment=environment)
    assert [r.status for r in judge_check("env.hf-token-missing", host=host, target=Target(model=model))] == [expected]


@pytest.mark.parametrize(("value", "engine", "expected"), [
    ("MIG-a,MIG-b", "sglang==0.5.8", ["fail"]), ("MIG-a", "sglang==0.5.8", ["pass"]),
    ("MIG-a", "vllm==0.19.1", ["fail"]), ("MIG-a", "vllm==0.33.0", ["warn"]), ("0", "vllm==0.33.0", ["skip"]),
])
def test_mig_slices(value: str, engine: str, expected: list[str]) -> None:
    host = replace(HOST, environment={"CUDA_VISIBLE_DEVICES": value})
    assert status("engine.mig-uuid", engine, host=host) == expected
