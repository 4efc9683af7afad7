"""Where a tensor of a Hugging Face checkpoint belongs, judged by its name.

Checkpoints name their tensors by module path; the paths of the common architectures share their last parts.
A name that tells nothing counts as replicated: its bytes are real whatever its place.
"""

import re
from typing import NamedTuple

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block|layer)\.(\d{1,4})\.(.+)$")
_TOWER = re.compile(
    r"^(?:model\.)?(?:vision|visual|multi_modal|mm_|audio|speech|image|embed_vision|embed_audio|merger|connector"
    r"|thinker\.(?:visual|audio)|vpm|resampler|vit|mlp1|encoder)"
)
_AUDIO = re.compile(r"audio|speech|^(?:model\.)?encoder")
_DRAFT = re.compile(r"^(?:model\.)?(?:mtp|nextn)\b")
_RECURRENT = re.compile(
    r"(?:^|\.)(?:mamba|linear_attn|ssm|conv|mixer\.(?:in_proj|out_proj|conv1d|A_log|D|dt_)|temporal_block)"
)
_EXPERTS = re.compile(r"\.experts\.|\.experts$|experts\.(?:gate|up|down)")
_SHARED = re.compile(r"shared_experts?\.|shared_mlp\.")
_ROUTER = re.compile(
    r"(?:\.|^)(?:gate|router|shared_expert_gate)(?:\.(?:weight|bias|e_score_correction_bias|wg\.weight|linear\.weight))?$"
)
_KEY_VALUE = re.compile(r"(?:^|[._])(?:k_proj|v_proj|key|value|wk|wv|kv_proj)(?:\.|$)")
_QUERY = re.compile(r"(?:^|[._])(?:q_proj|o_proj|out_proj|q_b_proj|kv_b_proj|query|wq|wo|dense|sinks|c_proj)(?:\.|$)")
_FUSED = re.compile(r"(?:^|[._])(?:qkv_proj|query_key_value|wqkv|c_attn|W_pack|qkv)(?:\.|$)", re.IGNORECASE)
_MLP = re.compile(
    r"(?:^|\.)(?:mlp|feed_forward|ffn|block_sparse_moe)\.|(?:^|[._])(?:gate_proj|up_proj|down_proj|gate_up_proj|fc1|fc2|w1|w2|w3|c_fc)(?:\.|$)"
)
_EMBEDDING = re.compile(
    r"(?:^|\.)(?:embed_tokens|wte|tok_embeddings|word_embeddings|embeddings?|embed_in|embed_positions)\."
)
_OUTPUT = re.compile(r"(?:^|\.)(?:lm_head|embed_out|output)\.")


class Place(NamedTuple):
    """Where a tensor belongs."""

    section: str
    """``layer``, ``embedding``, ``output``, ``final``, ``host``, ``draft``, ``vision`` or ``audio``."""
    layer: int = 0
    part: str = "replicated"
    """A field of `Parts`, or ``fused`` for query, key and value in one matrix."""
    expert: bool = False


def place_of(name: str, layers: int, encoder_decoder: bool = False) -> Place:
    """Where this tensor belongs in a model of so many layers."""
    if _DRAFT.search(name):
        return Place("draft")
    match = _LAYER.search(name)
    if _TOWER.match(name) and not (name.startswith("encoder") and not encoder_decoder):
        return Place("audio" if _AUDIO.search(name) else "vision")
    if match:
        index, rest = int(match[1]), match[2]
        if index >= layers:
            return Place("draft")
        part = _part(rest)
        return Place("layer", index, part, part == "experts")
    if "embed_tokens_per_layer" in name:
        return Place("host")
    if _OUTPUT.search(name):
        return Place("output")
    return Place("embedding") if _EMBEDDING.search(name) else Place("final")


def _part(rest: str) -> str:
    last = rest.rsplit(".", 2)
    stem = last[-2] if len(last) > 1 else last[-1]
    if "norm" in stem.lower() or "layernorm" in rest.lower():
        return "recurrent" if _RECURRENT.search(rest) else "replicated"
    if _ROUTER.search(rest):
        return "replicated"
    if _SHARED.search(rest):
        return "shared_experts"
    if _EXPERTS.search(f".{rest}"):
        return "experts"
    if _RECURRENT.search(rest):
        return "recurrent"
    if "encoder_attn" in rest or "cross_attn" in rest:
        return "cross"
    if _MLP.search(rest) and "attn" not in rest:
        return "mlp"
    if _FUSED.search(rest):
        return "fused"
    if _KEY_VALUE.search(rest):
        return "key_value"
    return "query" if _QUERY.search(rest) else "replicated"
