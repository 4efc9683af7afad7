from __future__ import annotations

import pytest

from gpudoctor.fit.sources.hub_names import place_of

NAMES = [
    ("model.embed_tokens.weight", "embedding", ""),
    ("model.language_model.embed_tokens.weight", "embedding", ""),
    ("model.embed_tokens_per_layer.weight", "host", ""),
    ("transformer.wte.weight", "embedding", ""),
    ("lm_head.weight", "output", ""),
    ("language_model.lm_head.weight", "output", ""),
    ("model.norm.weight", "final", ""),
    ("model.layers.1.input_layernorm.weight", "layer", "replicated"),
    ("model.layers.1.self_attn.q_proj.weight", "layer", "query"),
    ("model.layers.1.self_attn.q_proj.qweight", "layer", "query"),
    ("model.layers.1.self_attn.q_norm.weight", "layer", "replicated"),
    ("model.layers.1.self_attn.o_proj.bias", "layer", "query"),
    ("model.layers.1.self_attn.k_proj.weight_scale", "layer", "key_value"),
    ("model.layers.1.self_attn.v_proj.bias", "layer", "key_value"),
    ("model.layers.1.self_attn.qkv_proj.weight", "layer", "fused"),
    ("model.layers.1.attention.wqkv.weight", "layer", "fused"),
    ("model.layers.1.attention.wo.weight", "layer", "query"),
    ("transformer.h.1.attn.c_attn.weight", "layer", "fused"),
    ("model.layers.1.mlp.gate_up_proj.weight", "layer", "mlp"),
    ("model.layers.1.mlp.down_proj.scales", "layer", "mlp"),
    ("model.layers.1.feed_forward.w2.weight", "layer", "mlp"),
    ("transformer.h.1.mlp.c_fc.weight", "layer", "mlp"),
    ("transformer.h.1.mlp.c_proj.weight", "layer", "mlp"),
    ("model.layers.1.block_sparse_moe.gate.weight", "layer", "replicated"),
    ("model.layers.1.block_sparse_moe.experts.7.w1.weight", "layer", "experts"),
    ("model.layers.1.mlp.gate.weight", "layer", "replicated"),
    ("model.layers.1.mlp.gate.e_score_correction_bias", "layer", "replicated"),
    ("model.layers.1.mlp.experts.127.gate_proj.weight", "layer", "experts"),
    ("model.layers.1.mlp.shared_experts.up_proj.weight", "layer", "shared_experts"),
    ("model.layers.1.mlp.shared_expert.down_proj.weight", "layer", "shared_experts"),
    ("model.layers.1.mlp.shared_expert_gate.weight", "layer", "replicated"),
    ("model.layers.1.mlp.experts.gate_up_proj_blocks", "layer", "experts"),
    ("model.layers.1.mlp.experts.down_proj_bias", "layer", "experts"),
    ("model.layers.1.mlp.router.weight", "layer", "replicated"),
    ("model.layers.1.self_attn.sinks", "layer", "query"),
    ("language_model.model.layers.1.feed_forward.experts.gate_up_proj", "layer", "experts"),
    ("language_model.model.layers.1.feed_forward.router.weight", "layer", "replicated"),
    ("language_model.model.layers.1.feed_forward.shared_expert.up_proj.weight", "layer", "shared_experts"),
    ("model.layers.1.self_attn.q_a_proj.weight", "layer", "replicated"),
    ("model.layers.1.self_attn.q_b_proj.weight", "layer", "query"),
    ("model.layers.1.self_attn.kv_a_proj_with_mqa.weight", "layer", "replicated"),
    ("model.layers.1.self_attn.kv_b_proj.weight_scale_inv", "layer", "query"),
    ("model.layers.1.linear_attn.in_proj_qkvz.weight", "layer", "recurrent"),
    ("model.layers.1.linear_attn.A_log", "layer", "recurrent"),
    ("model.layers.1.linear_attn.norm.weight", "layer", "recurrent"),
    ("model.layers.1.mamba.in_proj.weight", "layer", "recurrent"),
    ("backbone.layers.1.mixer.conv1d.weight", "layer", "recurrent"),
    ("backbone.layers.1.mixer.q_proj.weight", "layer", "query"),
    ("backbone.layers.1.mixer.experts.5.up_proj.weight", "layer", "experts"),
    ("backbone.layers.1.norm.weight", "layer", "replicated"),
    ("model.layers.1.conv.in_proj.weight", "layer", "recurrent"),
    ("model.layers.9.self_attn.q_proj.weight", "draft", ""),
    ("mtp.layers.0.self_attn.q_proj.weight", "draft", ""),
    ("vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight", "vision", ""),
    ("model.vision_tower.encoder.layers.3.mlp.fc1.weight", "vision", ""),
    ("multi_modal_projector.linear_1.weight", "vision", ""),
    ("model.visual.blocks.0.attn.qkv.weight", "vision", ""),
    ("visual.merger.mlp.0.weight", "vision", ""),
    ("model.audio_tower.conformer.0.norm.weight", "audio", ""),
]


@pytest.mark.parametrize(("name", "section", "part"), NAMES)
def test_a_tensor_belongs_where_its_module_says(name: str, section: str, part: str) -> None:
    place = place_of(name, 9)
    assert place.section == section
    assert not part or place.part == part
    assert section != "layer" or place.layer == 1


WHISPER = [
    ("model.encoder.layers.1.self_attn.q_proj.weight", "audio", ""),
    ("model.encoder.conv1.weight", "audio", ""),
    ("model.decoder.layers.1.self_attn.k_proj.weight", "layer", "key_value"),
    ("model.decoder.layers.1.encoder_attn.k_proj.weight", "layer", "cross"),
    ("model.decoder.layers.1.fc1.weight", "layer", "mlp"),
    ("model.decoder.embed_tokens.weight", "embedding", ""),
    ("model.decoder.embed_positions.weight", "embedding", ""),
    ("proj_out.weight", "final", ""),
]


@pytest.mark.parametrize(("name", "section", "part"), WHISPER)
def test_an_encoder_is_a_tower_only_beside_a_decoder(name: str, section: str, part: str) -> None:
    place = place_of(name, 4, encoder_decoder=True)
    assert place.section == section
    assert not part or place.part == part


def test_a_lone_encoder_has_layers() -> None:
    assert place_of("encoder.layer.1.attention.self.query.weight", 12).part == "query"
    assert place_of("encoder.layer.1.attention.self.value.bias", 12).part == "key_value"
    assert place_of("embeddings.word_embeddings.weight", 12).section == "embedding"
