"""What the layers of a GGUF file remember, from metadata as llama.cpp and Ollama write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources import load


def written(
    path: Path, arch: str, blocks: int, roles: Mapping[str, tuple[int, ...]] | Sequence[Mapping[str, Any]], **keys: Any
) -> str:
    """A file of this architecture with these tensors in every block (or in each block its own)."""
    writer = gguf.GGUFWriter(str(path), arch)
    for key, value in {"block_count": blocks, **keys}.items():
        at = f"{arch}.{key.replace('__', '.')}"
        if isinstance(value, list):
            writer.add_array(at, value)
        else:
            writer.add_uint32(at, value)
    per_block = [roles] * blocks if isinstance(roles, Mapping) else roles
    for index, own in enumerate(per_block):
        for role, shape in own.items():
            name = role if role.startswith(("v.", "nextn")) else f"blk.{index}.{role}"
            writer.add_tensor(name, np.zeros(tuple(reversed(shape)), dtype=np.float16))
    writer.add_tensor("token_embd.weight", np.zeros((100, 64), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


ATTENTION = {
    "attn_q.weight": (64, 128), "attn_k.weight": (64, 32), "attn_v.weight": (64, 32), "attn_output.weight": (128, 64),
    "ffn_up.weight": (64, 96),
}  # fmt: skip
HEADS = {"attention__head_count": 4, "attention__head_count_kv": 1, "attention__key_length": 32,
         "attention__value_length": 32, "embedding_length": 64}  # fmt: skip


@pytest.mark.parametrize(
    ("arch", "kinds"),
    [
        ("gpt-oss", "SFSFSF"), ("gptoss", "SFSFSF"), ("gemma2", "SFSFSF"), ("gemma3", "SSSSSF"), ("cohere2", "SSSFSS"),
        ("phi3", "FFFFFF"),
    ],
)  # fmt: skip
def test_windows_follow_the_architecture(tmp_path: Path, arch: str, kinds: str) -> None:
    path = written(tmp_path / "a.gguf", arch, 6, ATTENTION, **HEADS, attention__sliding_window=128)
    model = load(path)
    assert "".join("S" if layer.cache.window else "F" for layer in model.layers) == kinds
    assert {layer.cache.window for layer in model.layers} <= {0, 128}
    assert model.layers[0].cache.key_values == 32
    assert not model.unknown


def test_a_pattern_in_the_file_wins(tmp_path: Path) -> None:
    writer = tmp_path / "a.gguf"
    path = written(
        writer, "marvin", 4, ATTENTION, **HEADS, attention__sliding_window=64,
        attention__sliding_window_pattern=[1, 1, 0, 1],
    )  # fmt: skip
    assert [layer.cache.window for layer in load(path).layers] == [64, 64, 0, 64]


def test_a_window_nobody_can_place_is_unknown_and_counted_in_full(tmp_path: Path) -> None:
    model = load(written(tmp_path / "a.gguf", "marvin", 2, ATTENTION, **HEADS, attention__sliding_window=64))
    assert not model.windowed
    assert "marvin" in model.unknown[0]


def test_a_latent_cache(tmp_path: Path) -> None:
    roles = {"attn_q.weight": (64, 128), "attn_kv_a_mqa.weight": (64, 40), "attn_k_b.weight": (16, 32, 4),
             "attn_v_b.weight": (32, 16, 4), "attn_output.weight": (64, 64)}  # fmt: skip
    model = load(
        written(
            tmp_path / "a.gguf", "deepseek2", 2, roles, attention__head_count=4, attention__head_count_kv=1,
            attention__key_length=40, attention__value_length=32, attention__key_length_mla=24,
            attention__value_length_mla=16, attention__kv_lora_rank=32, rope__dimension_count=8, embedding_length=64,
        )
    )  # fmt: skip
    cache = model.layers[0].cache
    assert (cache.kind, cache.heads, cache.key_values, cache.value_values) == ("latent", 1, 40, 0)
    assert model.latent is not None
    assert (model.latent.key_values_expanded, model.latent.value_values_expanded) == (96, 64)
    assert model.layers[0].weights.replicated == 64 * 40 * 2
    assert model.layers[0].weights.query == (64 * 128 + 2 * 16 * 32 * 4 + 64 * 64) * 2


def test_heads_of_their_own_in_every_layer(tmp_path: Path) -> None:
    keys = {**HEADS, "attention__head_count_kv": [1, 0, 2]}
    without = {"ffn_up.weight": (64, 96)}
    model = load(written(tmp_path / "a.gguf", "deci", 3, [ATTENTION, without, ATTENTION], **keys))
    assert [layer.cache.key_values for layer in model.layers] == [32, 0, 64]
    assert model.kv_heads == 2


def test_recurrent_layers_keep_a_state(tmp_path: Path) -> None:
    mixing = {"attn_qkv.weight": (64, 96), "attn_gate.weight": (64, 64), "ssm_conv1d.weight": (4, 96),
              "ssm_out.weight": (64, 64)}  # fmt: skip
    model = load(
        written(
            tmp_path / "a.gguf", "qwen3next", 4, [mixing, mixing, mixing, ATTENTION], **HEADS, ssm__conv_kernel=4,
            ssm__inner_size=64, ssm__state_size=16, ssm__group_count=1,
        )
    )  # fmt: skip
    state, full = model.layers[0], model.layers[3]
    assert (state.cache.kind, state.cache.key_values) == ("none", 0)
    assert (state.cache.conv_state_values, state.cache.ssm_state_values) == (3 * (64 + 2 * 16), 16 * 64)
    assert state.weights.recurrent == sum(a * b for a, b in mixing.values()) * 2
    assert (full.cache.kind, full.cache.ssm_state_values) == ("full", 0)
    assert model.recurrent


def test_a_fused_projection_is_split_by_its_rows(tmp_path: Path) -> None:
    roles = {"attn_qkv.weight": (64, 128 + 64), "attn_output.weight": (128, 64)}
    weights = load(written(tmp_path / "a.gguf", "phi3", 1, roles, **HEADS)).layers[0].weights
    assert (weights.query, weights.key_value) == (2 * 64 * 128 * 2, 2 * 64 * 64)


def test_experts_are_apart(tmp_path: Path) -> None:
    roles = {
        **ATTENTION,
        "ffn_gate_inp.weight": (64, 8),
        "ffn_up_exps.weight": (64, 32, 8),
        "ffn_up_shexp.weight": (64, 32),
    }
    model = load(written(tmp_path / "a.gguf", "qwen2moe", 2, roles, **HEADS, expert_count=8, expert_used_count=2))
    assert model.experts is not None
    assert (model.experts.total, model.experts.active, model.experts.intermediate) == (8, 2, 32)
    layer = model.layers[0]
    assert layer.routed
    assert (layer.weights.experts, layer.weights.shared_experts) == (64 * 32 * 8 * 2, 64 * 32 * 2)
    assert model.parameters is not None
    assert model.active_parameters == model.parameters - 2 * 64 * 32 * 8 * 6 // 8
    assert model.expert_type == "F16"


def test_prediction_layers_are_drafts(tmp_path: Path) -> None:
    model = load(written(tmp_path / "a.gguf", "glm4moe", 3, ATTENTION, **HEADS, nextn_predict_layers=1))
    assert len(model.layers) == 2
    assert model.draft_bytes == model.layers[0].weights.total


def test_a_tower_in_the_same_file(tmp_path: Path) -> None:
    roles = [{**ATTENTION, "v.patch_embd.weight": (64, 64)}]
    model = load(written(tmp_path / "a.gguf", "gemma3", 1, roles, **HEADS))
    assert model.encoder_bytes == 64 * 64 * 2
    assert not model.encoders[0].separate_file


def test_an_embedding_model_remembers_nothing(tmp_path: Path) -> None:
    model = load(written(tmp_path / "a.gguf", "bert", 2, ATTENTION, **HEADS))
    assert {layer.cache.kind for layer in model.layers} == {"none"}
    assert not model.unknown


def test_an_unknown_architecture_is_counted_by_its_tensors(tmp_path: Path) -> None:
    model = load(written(tmp_path / "a.gguf", "marvin", 2, ATTENTION, **HEADS))
    assert model.weights_bytes == sum(a * b for a, b in ATTENTION.values()) * 2 * 2 + 100 * 64 * 2
    assert model.layers[0].cache.key_values == 32


@pytest.mark.parametrize("keys", [{"block_count": 0}, {"block_count": 5000}, {"attention__key_length": 2**32 - 1}])
def test_absurd_metadata_is_one_line(tmp_path: Path, keys: dict[str, int]) -> None:
    with pytest.raises(Unusable) as caught:
        load(written(tmp_path / "a.gguf", "llama", 1, ATTENTION, **{**HEADS, **keys}))
    assert "\n" not in caught.value.message


def test_sliding_layers_may_have_narrower_heads(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.gguf", "gemma4", 2, ATTENTION, **HEADS, attention__sliding_window=64,
        attention__sliding_window_pattern=[1, 0], attention__key_length_swa=16, attention__value_length_swa=8,
    )  # fmt: skip
    sliding, full = (layer.cache for layer in load(path).layers)
    assert (sliding.window, sliding.key_values, sliding.value_values) == (64, 16, 8)
    assert (full.window, full.key_values, full.value_values) == (0, 32, 32)
