"""Vision towers and projectors by parameter count: they are stored unquantized beside the language model.

Each rule reads the part of the configuration that its model_type has; a tower that no rule describes stays
unknown and is named in `Blueprint.unknown`. Structures: the model definitions in transformers.
"""

from gpudoctor.fit.model import Encoder
from gpudoctor.fit.sources import mllama
from gpudoctor.fit.sources.facts import Facts


def _layer_norm(size: int) -> int:
    return 2 * size


def _dense(inputs: int, outputs: int, bias: bool = True) -> int:
    return inputs * outputs + outputs * bias


def _clip_layer(hidden: int, width: int) -> int:
    return 4 * _dense(hidden, hidden) + _dense(hidden, width) + _dense(width, hidden) + 2 * _layer_norm(hidden)


def siglip(vision: Facts, text_hidden: int, outer: Facts) -> tuple[Encoder, int]:
    """Gemma 3's SigLIP tower with its pooled projector."""
    hidden, width = vision.number("hidden_size", default=1152), vision.number("intermediate_size", default=4304)
    layers, patch = vision.layers("num_hidden_layers"), vision.number("patch_size", default=14)
    image = vision.number("image_size", default=896)
    positions = (image // patch) ** 2
    embedding = 3 * patch * patch * hidden + hidden + positions * hidden
    projector = hidden * text_hidden + hidden
    count = embedding + layers * _clip_layer(hidden, width) + _layer_norm(hidden) + projector
    tokens = outer.maybe("mm_tokens_per_image") or 256
    return _tower(vision, layers, hidden, width, positions, tokens), count


def pixtral(vision: Facts, text_hidden: int, outer: Facts) -> tuple[Encoder, int]:
    """Mistral's Pixtral tower with the merging projector of Mistral Small 3.1."""
    hidden, width = vision.number("hidden_size", default=1024), vision.number("intermediate_size", default=4096)
    layers, patch = vision.layers("num_hidden_layers"), vision.number("patch_size", default=14)
    image = vision.number("image_size", default=1540)
    merge = outer.maybe("spatial_merge_size") or 1
    bias = outer.flag("multimodal_projector_bias")
    each = 4 * hidden * hidden + 3 * hidden * width + 2 * hidden
    merging = hidden + merge * merge * hidden * hidden if merge > 1 else 0
    projector = merging + _dense(hidden, text_hidden, bias) + _dense(text_hidden, text_hidden, bias)
    positions = (image // patch) ** 2
    count = 3 * patch * patch * hidden + hidden + layers * each + projector
    return _tower(vision, layers, hidden, width, positions, positions // (merge * merge)), count


def qwen25(vision: Facts, text_hidden: int, outer: Facts) -> tuple[Encoder, int]:
    """Qwen2.5-VL's tower: gated feed-forward blocks and RMS norms."""
    hidden, width = vision.number("hidden_size", default=1280), vision.number("intermediate_size", default=3420)
    layers, patch = vision.number("depth", default=32), vision.number("patch_size", "spatial_patch_size", default=14)
    merge, frames = vision.number("spatial_merge_size", default=2), vision.number("temporal_patch_size", default=2)
    each = _dense(hidden, 3 * hidden) + _dense(hidden, hidden) + 2 * hidden
    each += 2 * _dense(hidden, width) + _dense(width, hidden)
    merged = hidden * merge * merge
    merger = hidden + _dense(merged, merged) + _dense(merged, vision.number("out_hidden_size", default=text_hidden))
    count = 3 * frames * patch * patch * hidden + layers * each + merger
    return _tower(vision, layers, hidden, width, None, None), count


def qwen2(vision: Facts, text_hidden: int, outer: Facts) -> tuple[Encoder, int]:
    """Qwen2-VL's tower."""
    hidden = vision.number("embed_dim", default=1280)
    ratio = vision.config.get("mlp_ratio", 4)
    width = int(hidden * (ratio if isinstance(ratio, int | float) and 0 < ratio < 100 else 4))
    layers, patch = vision.number("depth", default=32), vision.number("patch_size", default=14)
    merge, frames = vision.number("spatial_merge_size", default=2), vision.number("temporal_patch_size", default=2)
    each = _dense(hidden, 3 * hidden) + _dense(hidden, hidden) + 2 * _layer_norm(hidden)
    each += _dense(hidden, width) + _dense(width, hidden)
    merged = hidden * merge * merge
    merger = _layer_norm(hidden) + _dense(merged, merged) + _dense(merged, text_hidden)
    return _tower(
        vision, layers, hidden, width, None, None
    ), 3 * frames * patch * patch * hidden + layers * each + merger


def qwen3(vision: Facts, text_hidden: int, outer: Facts) -> tuple[Encoder, int]:
    """Qwen3-VL's and Qwen3.5's tower, with mergers at several depths in the former."""
    hidden, width = vision.number("hidden_size", default=1152), vision.number("intermediate_size", default=4304)
    layers, patch = vision.number("depth", default=27), vision.number("patch_size", default=16)
    merge, frames = vision.number("spatial_merge_size", default=2), vision.number("temporal_patch_size", default=2)
    positions = vision.number("num_position_embeddings", default=2304)
    out = vision.number("out_hidden_size", default=text_hidden)
    each = _dense(hidden, 3 * hidden) + _dense(hidden, hidden) + 2 * _layer_norm(hidden)
    each += _dense(hidden, width) + _dense(width, hidden)
    merged = hidden * merge * merge
    mapped = _dense(merged, merged) + _dense(merged, out)
    deep = len(vision.items("deepstack_visual_indexes")) * (_layer_norm(merged) + mapped)
    count = _dense(3 * frames * patch * patch, hidden) + positions * hidden + layers * each
    return _tower(vision, layers, hidden, width, None, None), count + _layer_norm(hidden) + mapped + deep


def llama4(vision: Facts, text_hidden: int, outer: Facts) -> tuple[Encoder, int]:
    """Llama 4's tower with its pixel-shuffling adapter."""
    hidden, width = vision.number("hidden_size", default=1408), vision.number("intermediate_size", default=5632)
    layers, patch = vision.number("num_hidden_layers", default=34), vision.number("patch_size", default=14)
    positions = (vision.number("image_size", default=336) // patch) ** 2
    projected = vision.number("projector_input_dim", default=4096)
    out = vision.number("projector_output_dim", default=4096)
    adapter = width * projected + projected * out
    count = 3 * patch * patch * hidden + hidden + (positions + 1) * hidden + layers * _clip_layer(hidden, width)
    count += 2 * _layer_norm(hidden) + adapter + vision.number("vision_output_dim", default=4096) * text_hidden
    return _tower(vision, layers, hidden, width, positions + 1, None), count


def gemma4(vision: Facts, text_hidden: int, outer: Facts) -> tuple[Encoder, int]:
    """Gemma 4's tower: gated blocks, four norms, a table of positions for each axis."""
    hidden, width = vision.number("hidden_size", default=768), vision.number("intermediate_size", default=3072)
    layers, patch = vision.number("num_hidden_layers", default=16), vision.number("patch_size", default=16)
    head_dim = vision.number("head_dim", default=64)
    positions = vision.number("position_embedding_size", default=10240)
    each = 4 * hidden * hidden + 3 * hidden * width + 4 * hidden + 2 * head_dim
    count = 3 * patch * patch * hidden + 2 * positions * hidden + layers * each + hidden * text_hidden
    tokens = outer.maybe("vision_soft_tokens_per_image") or 280
    encoder = _tower(vision, layers, hidden, width, None, tokens)
    count += 2 * hidden * vision.flag("standardize") + 4 * 7 * layers * vision.flag("use_clipped_linears")
    return encoder, count


_GEMMA4_AUDIO = 304_824_160
"""Parameters of Gemma 4's audio tower without its projection: what the published counts of E2B and E4B leave."""


def _tower(vision: Facts, layers: int, hidden: int, width: int, positions: int | None, tokens: int | None) -> Encoder:
    return Encoder(
        "vision", 0, None, layers, hidden, width, vision.maybe("num_attention_heads", "num_heads"), positions, tokens
    )


RULES = {
    "gemma3": siglip, "mistral3": pixtral, "qwen2_vl": qwen2, "qwen2_5_vl": qwen25, "qwen3_vl": qwen3,
    "qwen3_vl_moe": qwen3, "qwen3_5": qwen3, "qwen3_5_moe": qwen3, "llama4": llama4, "gemma4": gemma4,
    "mllama": mllama.tower,
}  # fmt: skip
"""The tower of every multimodal model_type that a rule describes."""


def towers_of(outer: Facts, text_hidden: int) -> tuple[tuple[tuple[Encoder, int], ...], tuple[str, ...]]:
    """The towers a configuration describes, and what is unknown about them."""
    kind = outer.text("model_type")
    vision = outer.within("vision_config")
    found: list[tuple[Encoder, int]] = []
    unknown: list[str] = []
    if vision is not None:
        rule = RULES.get(kind)
        if rule is not None:
            found.append(rule(vision, text_hidden, outer))
        else:
            unknown.append(f"the size of the vision tower of {kind[:60]!r}")
    if outer.within("audio_config") is not None and kind == "gemma4":
        found.append((Encoder("audio", 0, None, 12, 1024), _GEMMA4_AUDIO + 1536 * text_hidden))
    elif outer.within("audio_config") is not None:
        unknown.append(f"the size of the audio tower of {kind[:60]!r}")
    return tuple(found), tuple(unknown)
