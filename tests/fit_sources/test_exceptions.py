"""Matrices that a quantized checkpoint keeps at 16 bit, and the groups of its scales."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from gpudoctor.fit.model import Model
from gpudoctor.fit.sources import load
from gpudoctor.fit.sources.exceptions import kept_by, listed
from gpudoctor.fit.sources.tensors import Tensor

GIB = 2**30
LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "tie_word_embeddings": False,
    "max_position_embeddings": 8192,
}  # fmt: skip
QUERY, GATE = Tensor("attn_q", (4096, 4096), "query"), Tensor("ffn_gate", (4096, 14336), "mlp")


def folder(tmp_path: Path, **section: object) -> Model:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "quantization_config": section}))
    return load(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["model.layers.3.self_attn.q_proj", "model.layers.3.self_attn*", "re:.*self_attn.*", "self_attn"]
)
def test_a_listed_module_stays_at_16_bit(name: str) -> None:
    kept = kept_by([name])
    assert kept(QUERY, 3)
    assert not kept(GATE, 3)


def test_a_layer_is_not_the_one_that_begins_with_its_number() -> None:
    kept = kept_by(["model.layers.1.mlp"])
    assert [kept(GATE, layer) for layer in (1, 10, 11)] == [True, False, False]


@pytest.mark.parametrize("name", ["lm_head", "re:.*mlp\\.gate$", "re:(a|b)+", "re:(.*a){20}$", "visual*", "", "*"])
def test_what_names_no_matrix_of_a_block_keeps_nothing(name: str) -> None:
    assert not kept_by([name])(GATE, 0)


def test_a_list_beyond_any_model_is_not_believed() -> None:
    assert listed({"ignore": ["self_attn"] * 1_000_000}) == ()
    assert listed({"ignore": [1, None, "x" * 10_000, "lm_head"]}) == ("lm_head",)


def test_a_thousand_names_cost_little() -> None:
    names = [f"model.layers.{i}.self_attn.{p}_proj" for i in range(500) for p in "qkvo"]
    begun = time.process_time()
    kept = kept_by(names)
    assert sum(kept(QUERY, layer) for layer in range(1000)) == 500
    assert time.process_time() - begun < 5


def test_attention_that_the_configuration_excludes_is_counted_whole(tmp_path: Path) -> None:
    whole = folder(tmp_path, quant_method="fp8")
    apart = folder(tmp_path, quant_method="fp8", modules_to_not_convert=["self_attn"])
    attention = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024)
    assert apart.weights_bytes - whole.weights_bytes == pytest.approx(attention, rel=0.01)


def test_groups_of_32_cost_more_than_groups_of_128(tmp_path: Path) -> None:
    coarse = folder(tmp_path, quant_method="awq", bits=4, group_size=128)
    fine = folder(tmp_path, quant_method="awq", bits=4, group_size=32)
    quantized = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert fine.weights_bytes - coarse.weights_bytes == pytest.approx(quantized * 20 / 8 * (1 / 32 - 1 / 128), rel=0.01)


@pytest.mark.parametrize("size", ["many", -7, 2**40, True, [128], None])
def test_a_group_that_cannot_be_is_passed_over(tmp_path: Path, size: object) -> None:
    plain = folder(tmp_path, quant_method="awq", bits=4)
    assert folder(tmp_path, quant_method="awq", bits=4, group_size=size).weights_bytes == plain.weights_bytes


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        # 57.75 GiB on each of eight GPUs, with 7.9 GiB of twice the key-value heads (vllm-project/vllm#6746)
        ("meta-llama/Meta-Llama-3.1-405B-Instruct-FP8", 454.1),
        ("moonshotai/Kimi-K2-Thinking", 553.4),  # 594 GB of files
        ("nvidia/DeepSeek-R1-0528-FP4", 378.0),  # 94.5 GiB on each of four (sgl-project/sglang#8112)
    ],
)
def test_published_mixtures_of_precision(name: str, gib: float) -> None:
    assert load(name).weights_bytes / GIB == pytest.approx(gib, rel=0.025)


@pytest.mark.parametrize(
    ("quant", "gigabytes"), [("F16", 65.4), ("Q8_0", 63.4), ("Q4_K_M", 62.8)]
)  # unsloth/gpt-oss-120b-GGUF
def test_experts_trained_in_four_bits_stay_so_in_every_mix(quant: str, gigabytes: float) -> None:
    assert load("unsloth/gpt-oss-120b-GGUF", quant=quant).weights_bytes / 1e9 == pytest.approx(gigabytes, rel=0.005)
