"""The dimensions nearly every decoder shares, and how layers become a blueprint."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gpudoctor.fit.model import Attention, Cache, Experts, Latent
from gpudoctor.fit.sources.facts import Facts
from gpudoctor.fit.sources.layouts import attention_kinds, caches, window_of
from gpudoctor.fit.sources.parts import vector
from gpudoctor.fit.sources.tensors import Block, Blueprint, Tensor


class Shape(NamedTuple):
    """Dimensions of a decoder, read once."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    context: int | None


def shape_of(facts: Facts, *, tied: bool = False, intermediate: int | None = None) -> Shape:
    """Read the dimensions; `tied` and `intermediate` are the defaults of this architecture.

    The key and value heads default to the query heads, the head size to hidden / heads, as in transformers.
    """
    hidden = facts.number("hidden_size", "n_embd", "d_model")
    heads = facts.number("num_attention_heads", "n_head", "num_heads")
    head_dim = facts.maybe("head_dim") or hidden // heads
    if not head_dim:
        raise facts.wrong("hidden_size", "is less than one element a head")
    return Shape(
        layers=facts.layers("num_hidden_layers", "num_layers", "n_layer"),
        hidden=hidden,
        heads=heads,
        kv_heads=facts.number("num_key_value_heads", default=heads),
        head_dim=head_dim,
        intermediate=facts.number("intermediate_size", "ffn_dim", "n_inner", default=intermediate),
        vocabulary=facts.number("vocab_size"),
        tied=facts.flag("tie_word_embeddings", tied),
        context=context_of(facts),
    )


def context_of(facts: Facts) -> int | None:
    """Tokens the model serves; rope scaling is already in max_position_embeddings where it is trained."""
    return facts.maybe(
        "max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "model_max_length"
    )


def dtype_of(facts: Facts) -> str:
    """Type of the published weights: bf16, f16 or f32; bf16 when the configuration does not say."""
    text = facts.text("torch_dtype") or facts.text("dtype")
    return {"float16": "f16", "half": "f16", "float32": "f32", "float": "f32"}.get(text.removeprefix("torch."), "bf16")


def norms(hidden: int, count: int, *, bias: bool = False) -> list[Tensor]:
    """This many norms of a layer, with biases for LayerNorm."""
    names = ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm")
    tensors = [vector(names[i], hidden) for i in range(count)]
    return tensors + [vector(f"{names[i]}.bias", hidden) for i in range(count)] * bias


def assemble(
    facts: Facts,
    shape: Shape,
    *,
    architecture: str,
    model_type: str,
    blocks: Sequence[Block],
    final: Sequence[Tensor] | None = None,
    experts: Experts | None = None,
    latent: Latent | None = None,
    value_dim: int | None = None,
    output_bias: bool = False,
    draft: Sequence[Tensor] = (),
    host: Sequence[Tensor] = (),
) -> Blueprint:
    """Put layers between embedding and output."""
    output = [] if shape.tied else [Tensor("output", (shape.hidden, shape.vocabulary), "replicated")]
    if output_bias:
        output.append(vector("output.bias", shape.vocabulary))
    kv_heads = max((block.cache.heads for block in blocks), default=shape.kv_heads)
    return Blueprint(
        architecture=architecture,
        model_type=model_type,
        blocks=tuple(blocks),
        embedding=(Tensor("token_embd", (shape.hidden, shape.vocabulary), "replicated"),),
        output=tuple(output),
        final=tuple(final) if final is not None else (vector("output_norm", shape.hidden),),
        vocabulary=shape.vocabulary,
        hidden_size=shape.hidden,
        heads=shape.heads,
        kv_heads=kv_heads or shape.kv_heads,
        head_dim=shape.head_dim,
        value_head_dim=shape.head_dim if value_dim is None else value_dim,
        intermediate_size=shape.intermediate,
        context_maximum=shape.context,
        dtype=dtype_of(facts),
        experts=experts,
        latent=latent,
        draft=tuple(draft),
        host=tuple(host),
    )


def repeated(
    facts: Facts,
    shape: Shape,
    model_type: str,
    make: Callable[[int, bool], list[Tensor]],
    routed: Callable[[int], bool] = lambda _: False,
) -> list[Block]:
    """Blocks of a decoder whose layers differ only in their attention and in being routed.

    `make` gets a layer of that kind and whether it is routed.
    """
    kinds = attention_kinds(facts, model_type, shape.layers)
    memory = caches(kinds, window_of(facts), shape.kv_heads, shape.head_dim, shape.head_dim)
    return blocks_of(kinds, memory, make, routed)


def blocks_of(
    kinds: Sequence[Attention],
    memory: dict[Attention, Cache],
    make: Callable[[int, bool], list[Tensor]],
    routed: Callable[[int], bool] = lambda _: False,
) -> list[Block]:
    """One block a layer, equal ones shared."""
    made: dict[tuple[Attention, bool], Block] = {}
    blocks = []
    for index, kind in enumerate(kinds):
        key = (kind, routed(index))
        if key not in made:
            made[key] = Block(tuple(make(index, key[1])), memory[kind], key[1])
        blocks.append(made[key])
    return blocks
