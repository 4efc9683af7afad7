"""Llama 3.2 Vision: a Llama with layers that attend to an image instead of to the text before."""

from gpudoctor.fit.model import Cache, Encoder
from gpudoctor.fit.sources.common import assemble, norms, shape_of
from gpudoctor.fit.sources.facts import Facts
from gpudoctor.fit.sources.parts import attention, feed_forward, vector
from gpudoctor.fit.sources.tensors import Block, Blueprint, Tensor

_TILES, _PATCHES, _ASPECTS = 4, 1601, 9
"""Tiles of an image, positions of a tile and aspect ratios: fixed for the published models."""
_EXTRA_ROWS = 8
"""Rows of the embedding that the output matrix does not have."""


def mllama(facts: Facts, model_type: str) -> Blueprint:
    """The blueprint of the language model; `tower` adds the vision tower."""
    shape = shape_of(facts)
    crossing = set(facts.numbers("cross_attention_layers"))
    width = shape.kv_heads * shape.head_dim
    after = [*feed_forward(shape.hidden, shape.intermediate), *norms(shape.hidden, 2)]
    own = attention(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim)
    looking = attention(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim, head_norm=True)
    cross = [tensor._replace(role=f"cross_{tensor.role}", part="cross") for tensor in looking]
    gates = [vector("cross_attn_attn_gate", 1), vector("cross_attn_mlp_gate", 1)]
    text = Block((*own, *after), Cache("full", shape.kv_heads, width, width))
    image = Block((*cross, *gates, *after), Cache("none", cross_values=2 * width * _TILES * _PATCHES))
    blueprint = assemble(
        facts,
        shape,
        architecture="mllama",
        model_type=model_type,
        blocks=[image if index in crossing else text for index in range(shape.layers)],
    )
    embedding = Tensor("token_embd", (shape.hidden, shape.vocabulary + _EXTRA_ROWS), "replicated")
    return blueprint._replace(embedding=(embedding,))


def tower(vision: Facts, text_hidden: int, outer: Facts) -> tuple[Encoder, int]:
    """Its vision tower: local and gated global layers over tiles, and the projector."""
    hidden, width = vision.number("hidden_size", default=1280), vision.number("intermediate_size", default=5120)
    layers, globally = vision.number("num_hidden_layers", default=32), vision.number("num_global_layers", default=8)
    patch, out = vision.number("patch_size", default=14), vision.number("vision_output_dim", default=7680)
    each = 4 * hidden * hidden + 2 * hidden * width + width + hidden + 4 * hidden
    count = 3 * patch * patch * hidden + hidden + (layers + globally) * each + 2 * globally + 4 * hidden
    count += 1 + _PATCHES * hidden + _ASPECTS * _TILES * _PATCHES * hidden
    count += 2 * (_ASPECTS * _TILES * hidden + 1)
    projector = out * text_hidden + text_hidden
    heads = vision.maybe("attention_heads", "num_attention_heads")
    positions = _TILES * _PATCHES
    return Encoder("vision", 0, None, layers + globally, hidden, width, heads, positions, positions), count + projector
