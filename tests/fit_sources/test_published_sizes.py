"""The mixes against published files: what is left over is the header, and a header has a known size."""

from __future__ import annotations

import pytest

from gpudoctor.fit.sources import catalogue, load, requantized

LARGEST_HEADER = 16_000_000

UNSLOTH = [
    # Qwen3-Coder-30B-A3B-Instruct-GGUF, byte sizes of the repository's files
    ("unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF", "Q2_K", 11258612896),
    ("unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF", "Q3_K_M", 14711850144),
    ("unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF", "Q4_K_M", 18556689568),
    ("unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF", "Q5_K_M", 21725584544),
    ("unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF", "Q6_K", 25092535456),
    ("unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF", "Q8_0", 32483935392),
    ("unsloth/Qwen3-30B-A3B-GGUF", "BF16", 61095803424),
    ("unsloth/Qwen3-14B-GGUF", "Q4_K_M", 9001753984),
    ("unsloth/Qwen3-14B-GGUF", "Q5_K_M", 10514570624),
    ("unsloth/Qwen3-14B-GGUF", "Q6_K", 12121938304),
    ("unsloth/Qwen3-14B-GGUF", "Q8_0", 15698534784),
    ("unsloth/Qwen3-14B-GGUF", "BF16", 29543424160),
    ("unsloth/Llama-3.2-3B-Instruct-GGUF", "Q4_K_M", 2019377696),
    ("unsloth/Llama-3.2-3B-Instruct-GGUF", "Q5_K_M", 2322154016),
    ("unsloth/Llama-3.2-3B-Instruct-GGUF", "Q6_K", 2643853856),
    ("unsloth/Llama-3.2-3B-Instruct-GGUF", "Q8_0", 3421899296),
    ("ggml-org/gpt-oss-20b-GGUF", "MXFP4", 12109566560),
]


@pytest.mark.parametrize(("name", "quant", "size"), UNSLOTH)
def test_a_mix_leaves_only_the_header(name: str, quant: str, size: int) -> None:
    model = load(name, quant=quant, form="gguf")
    assert 0 < size - model.weights_bytes < LARGEST_HEADER


def published_tags() -> list[tuple[str, int]]:
    found = []
    for number in range(len(catalogue.index().tables)):
        row = catalogue.row(number)
        found += [(tag, size) for tag, size in row.sizes.items() if tag in row.tags]
    return found


@pytest.mark.parametrize(("tag", "size"), published_tags())
def test_an_ollama_blob_leaves_only_the_header(tag: str, size: int) -> None:
    assert 0 < size - load(tag).weights_bytes < LARGEST_HEADER


ROUNDED = [
    # sizes as Ollama's library prints them
    ("qwen3:32b", 20.2, 0.05), ("qwen3:30b-a3b", 18.6, 0.05), ("qwen3:235b", 142.2, 0.05), ("gemma2:9b", 5.5, 0.1),
    ("qwen3.5:9b", 6.6, 0.05), ("qwen3.5:35b", 24, 0.5), ("gemma3:27b-it-qat", 18, 0.5),
    ("gemma3:12b-it-qat", 8.9, 0.05),
    ("gemma3:4b-it-qat", 4.0, 0.05), ("nomic-embed-text", 0.274, 0.001), ("bge-m3", 1.2, 0.05),
    ("solar:10.7b", 6.1, 0.05),
    ("mixtral:8x7b-instruct-v0.1-q5_0", 32, 0.5), ("mixtral:8x7b-instruct-v0.1-q8_0", 50, 0.5),
    ("mistral-large:123b-instruct-2407-q2_K", 45, 0.5), ("mistral-large:123b-instruct-2407-q6_K", 101, 0.5),
    ("mistral-large:123b-instruct-2411-q8_0", 130, 0.5), ("llama4:16x17b", 67.4, 0.35),
]  # fmt: skip


@pytest.mark.parametrize(("tag", "gigabytes", "within"), ROUNDED)
def test_a_rounded_size_agrees(tag: str, gigabytes: float, within: float) -> None:
    model = load(tag)
    header = 0.012
    assert abs((model.weights_bytes + model.draft_bytes) / 1e9 + header / 2 - gigabytes) <= within + header / 2


LOADED = [
    # what llama.cpp's "model buffer" lines sum to on the GPUs, which leave out the token embedding
    ("meta-llama/Llama-3.1-70B-Instruct", "Q4_K_S", 39748391404),
    ("meta-llama/Llama-3.1-8B-Instruct", "Q4_K_M", 4617393930),
]


@pytest.mark.parametrize(("name", "quant", "size"), LOADED)
def test_loaded_buffers_agree(name: str, quant: str, size: int) -> None:
    model = load(name, quant=quant, form="gguf")
    assert abs(model.weights_bytes - model.embedding_bytes - size) < 1 << 20


def test_loaded_safetensors_agree() -> None:
    model = load("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic")
    assert model.quantization == "FP8"
    assert abs(model.weights_bytes / (67.72 * 2**30) - 1) < 0.001


def test_requantizing_is_the_same_as_loading() -> None:
    model = load("llama3.3:70b")
    for quant in ("Q3_K_M", "IQ4_XS", "Q5_K_S", "Q6_K", "q8_0", "F16"):
        again = requantized(model, quant)
        assert again is not None
        assert again.layers == load("llama3.3:70b", quant=quant).layers
    assert requantized(model, "nonsense") is None


def test_a_smaller_mix_is_smaller() -> None:
    model = load("Qwen/Qwen3-8B", form="gguf")
    order = [
        "IQ1_S",
        "IQ2_XXS",
        "IQ2_S",
        "Q2_K",
        "Q3_K_S",
        "Q3_K_M",
        "Q4_K_S",
        "Q4_K_M",
        "Q5_K_M",
        "Q6_K",
        "Q8_0",
        "BF16",
    ]
    sizes = [again.weights_bytes for quant in order if (again := requantized(model, quant)) is not None]
    assert len(sizes) == len(order)
    assert sizes == sorted(sizes)
