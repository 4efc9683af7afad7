"""What releases and images ask of driver and GPU, across all tables."""

import pytest

from gpudoctor.matrices.engines import EngineRequirement, engine_requirement, image_requirement


def need(engine: str, version: str, capability: tuple[int, int] | None = None) -> EngineRequirement:
    found = engine_requirement(engine, version, compute_capability=capability)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("engine", "version", "cuda", "driver", "capability"),
    [
        ("vllm", "0.33.0", "13.0", "580.65.06", (7, 5)),
        ("vllm", "0.19.1", "12.9", "525.60.13", (7, 0)),
        ("vllm", "0.20.0+cu129", "12.9", "525.60.13", None),
        ("sglang", "0.5.23", "13.0", "580.65.06", (7, 5)),
        ("sglang", "0.3.6", None, None, None),
        ("torch", "2.15.0", "13.2", "580.65.06", (7, 5)),
        ("torch", "2.5.1", "12.4", "525.60.13", (5, 0)),
        ("torch", "2.5.1+cu118", "11.8", "450.80.02", (3, 7)),
        ("torch", "2.14.0+cu126", "12.6", "525.60.13", (5, 0)),
        ("torch", "2.14.0+cpu", None, None, None),
        ("torch", "1.12.1", "10.2", None, (3, 7)),
        ("ollama", "0.32.15", "12.8", "550", (5, 0)),
        ("ollama", "0.9.2", "11.3", None, (5, 0)),
        ("tgi", "3.3.7", "12.4", "535.54.03", None),
    ],
)
def test_requirements(
    engine: str, version: str, cuda: str | None, driver: str | None, capability: tuple[int, int] | None
) -> None:
    found = need(engine, version)
    assert (found.cuda, found.min_driver, found.min_compute_capability) == (cuda, driver, capability)
    assert found.cuda_major == (int(cuda.split(".")[0]) if cuda else None)
    assert found.source.url.startswith("https://")


def test_ollama_asks_more_of_the_driver_for_old_gpus() -> None:
    assert need("ollama", "0.32.15", (6, 1)).min_driver == "570"
    assert need("ollama", "0.32.15", (7, 5)).min_driver == "550"
    assert need("ollama", "0.11.10", (6, 1)).min_driver == "531"


def test_only_newer_ollama_checks_the_driver() -> None:
    assert need("ollama", "0.32.15").driver_checked
    assert not need("ollama", "0.30.10").driver_checked
    assert need("ollama", "0.32.15").falls_back_to_cpu
    assert not need("vllm", "0.33.0").falls_back_to_cpu


def test_torch_on_aarch64_had_no_cuda_before_2_11() -> None:
    old = engine_requirement("torch", "2.10.0", machine="aarch64")
    new = engine_requirement("torch", "2.11.0", machine="aarch64")
    assert old is not None
    assert old.cuda is None
    assert new is not None
    assert (new.cuda, new.min_compute_capability) == ("13.0", (8, 0))
    assert engine_requirement("torch", "2.11.0+cu126", machine="aarch64") is None


@pytest.mark.parametrize(
    ("engine", "version"),
    [
        ("vllm", "0.34.0"),
        ("vllm", "latest"),
        ("sglang", "0.5.14"),
        ("ollama", "0.40.0"),
        ("ollama", "latest"),
        ("torch", "3.0.0"),
        ("torch", "2.5.1+rocm6.2"),
        ("torch", "2.5.1+cu999"),
        ("tgi", "3.4.0"),
        ("llama.cpp", "b10488"),
        ("", ""),
    ],
)
def test_what_no_table_knows_is_none(engine: str, version: str) -> None:
    assert engine_requirement(engine, version) is None


@pytest.mark.parametrize(
    ("reference", "engine", "cuda", "driver"),
    [
        ("vllm/vllm-openai:v0.33.0", "vllm", "13.0.3", "580.65.06"),
        ("docker.io/vllm/vllm-openai:v0.19.1", "vllm", "12.9.1", "525.60.13"),
        ("vllm/vllm-openai:v0.20.0-cu129", "vllm", "12.9", "525.60.13"),
        ("ollama/ollama:0.32.15", "ollama", "12.8", "550"),
        ("lmsysorg/sglang:v0.5.12-cu130", "sglang", "13.0", "580.65.06"),
        ("lmsysorg/sglang:v0.5.19-cu129", "sglang", "12.9", "525.60.13"),
        ("lmsysorg/sglang:v0.4.6.post5-cu124", "sglang", "12.4", "525.60.13"),
        ("ghcr.io/huggingface/text-generation-inference:3.3.7", "tgi", "12.4", "535.54.03"),
        ("pytorch/pytorch:2.5.1-cuda12.1-cudnn9-runtime", "torch", "12.1", "525.60.13"),
        ("nvidia/cuda:13.0.1-runtime-ubuntu24.04", "cuda", "13.0.1", "580.65.06"),
        ("nvidia/cuda:12.2.2-base-ubuntu22.04@sha256:0123", "cuda", "12.2.2", "525.60.13"),
    ],
)
def test_images(reference: str, engine: str, cuda: str, driver: str) -> None:
    found = image_requirement(reference)
    assert found is not None
    assert (found.engine, found.cuda, found.min_driver) == (engine, cuda, driver)


@pytest.mark.parametrize(
    "reference",
    ["ollama/ollama:latest", "ollama/ollama", "vllm/vllm-openai:nightly", "me/vllm-openai:v0.33.0", "", "a:b:c"],
)
def test_images_that_say_nothing(reference: str) -> None:
    assert image_requirement(reference) is None


def test_an_image_with_a_cuda_of_its_own_and_no_word_of_it() -> None:
    found = image_requirement("lmsysorg/sglang:v0.5.23")
    assert found is not None
    assert (found.version, found.cuda, found.min_driver) == ("0.5.23", None, None)
