"""Architectures with a shape of their own: Llama 4, Gemma 3n, NVIDIA's searched Llamas, Whisper."""

from gpudoctor.fit.model import Attention, Cache, Encoder, Experts
from gpudoctor.fit.sources.common import Shape, assemble, blocks_of, context_of, norms, shape_of
from gpudoctor.fit.sources.facts import Facts
from gpudoctor.fit.sources.layouts import attention_kinds, caches, window_of
from gpudoctor.fit.sources.parts import attention, feed_forward, linear, mixture, vector
from gpudoctor.fit.sources.tensors import Block, Blueprint, Tensor

RULES = ("llama4_text", "gemma3n_text", "nemotron-nas", "whisper")
"""Every model_type described here."""


def special(facts: Facts, model_type: str) -> Blueprint:
    """The blueprint of one of these architectures."""
    if model_type == "llama4_text":
        return _llama4(facts)
    if model_type == "gemma3n_text":
        return _gemma3n(facts)
    return _searched(facts) if model_type == "nemotron-nas" else _whisper(facts)


def _llama4(facts: Facts) -> Blueprint:
    """Llama 4: chunked attention except in every fourth layer, routed layers at a step."""
    shape = shape_of(facts)
    dense_width = facts.number("intermediate_size_mlp", default=16384)
    count = facts.number("num_local_experts", default=16)
    experts = Experts(count, facts.number("num_experts_per_tok", default=1), shape.intermediate, 1)
    step = facts.number("interleave_moe_layer_step", default=1)
    listed = facts.numbers("moe_layers")
    routed = set(listed) if listed else {i for i in range(shape.layers) if not (i + 1) % step}
    rope = facts.numbers("no_rope_layers")
    chunk = facts.number("attention_chunk_size", default=8192)
    kinds: list[Attention] = [
        "chunked" if (rope[i] if len(rope) == shape.layers else (i + 1) % 4) else "full" for i in range(shape.layers)
    ]
    memory = caches(kinds, chunk, shape.kv_heads, shape.head_dim, shape.head_dim)

    def make(_: int, is_routed: bool) -> list[Tensor]:
        tensors = attention(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim) + norms(shape.hidden, 2)
        if not is_routed:
            return tensors + feed_forward(shape.hidden, dense_width)
        return tensors + mixture(shape.hidden, shape.intermediate, count, shared_width=shape.intermediate)

    blocks = blocks_of(kinds, memory, make, lambda i: i in routed)
    return assemble(facts, shape, architecture="llama4", model_type="llama4_text", blocks=blocks, experts=experts)


def _gemma3n(facts: Facts) -> Blueprint:
    """Gemma 3n: alternating updates, low-rank residuals, embeddings per layer kept in host memory."""
    widths = facts.numbers("intermediate_size")
    single = facts.maybe("intermediate_size") if not widths else widths[0]
    if widths:
        facts = Facts({**facts.config, "intermediate_size": widths[0]}, facts.where)
    shape = shape_of(facts, tied=True, intermediate=single)
    hidden, layers = shape.hidden, shape.layers
    inputs, rank = facts.number("altup_num_inputs", default=4), facts.number("laurel_rank", default=64)
    per_layer = facts.number("hidden_size_per_layer_input", default=256)
    shared = facts.maybe("num_kv_shared_layers", least=0) or 0
    kinds = attention_kinds(facts, "gemma3n_text", layers)
    memory = caches(kinds, window_of(facts), shape.kv_heads, shape.head_dim, shape.head_dim)
    tensors = [
        *attention(hidden, shape.heads, shape.kv_heads, shape.head_dim, head_norm=True),
        *feed_forward(hidden, shape.intermediate),
        *norms(hidden, 4),
        vector("altup_correct_scale", hidden),
        Tensor("altup_correct_coef", (inputs, inputs), "replicated"),
        Tensor("altup_predict_coef", (inputs, inputs * inputs), "replicated"),
        Tensor("altup_router", (hidden, inputs), "replicated"),
        vector("altup_router_norm", hidden),
        Tensor("laurel_l", (hidden, rank), "replicated"),
        Tensor("laurel_r", (rank, hidden), "replicated"),
        vector("laurel_post_norm", hidden),
        *linear("inp_gate", hidden, per_layer, "replicated"),
        *linear("proj", per_layer, hidden, "replicated"),
        vector("post_norm", hidden),
    ]
    made: dict[tuple[Attention, bool], Block] = {}
    blocks = []
    for index, kind in enumerate(kinds):
        key = (kind, index >= layers - shared)
        if key not in made:
            made[key] = Block(tuple(tensors), memory[kind]._replace(shared=key[1]))
        blocks.append(made[key])
    final = [
        vector("output_norm", hidden),
        Tensor("per_layer_model_proj", (hidden, layers * per_layer), "replicated"),
        vector("per_layer_proj_norm", per_layer),
        Tensor("altup_proj", (hidden, hidden, inputs - 1), "replicated"),
        Tensor("altup_unembd_proj", (hidden, hidden, inputs - 1), "replicated"),
    ]
    rows = facts.number("vocab_size_per_layer_input", default=262144)
    host = [Tensor("per_layer_token_embd", (layers * per_layer, rows), "replicated")]
    return assemble(
        facts, shape, architecture="gemma3n", model_type="gemma3n_text", blocks=blocks, final=final, host=host
    )


def _searched(facts: Facts) -> Blueprint:
    """NVIDIA's Nemotron Super and Ultra: every layer has its own heads and width, or none."""
    hidden, heads = facts.number("hidden_size"), facts.number("num_attention_heads")
    configs = facts.items("block_configs")
    layers = facts.layers("num_hidden_layers")
    if len(configs) != layers:
        raise facts.wrong("block_configs", "does not describe every layer")
    head_dim = hidden // heads or 1
    made: dict[tuple[int, int, bool, bool], Block] = {}
    blocks, most, widest = [], 0, 0
    for config in configs:
        own = Facts(config if isinstance(config, dict) else {}, facts.where)
        mixer, after = own.within("attention") or Facts({}), own.within("ffn") or Facts({})
        group = mixer.maybe("n_heads_in_group")
        kv_heads = heads // group if group and not mixer.flag("no_op") else 0
        factor = after.config.get("ffn_mult")
        width = 0
        if isinstance(factor, int | float) and 0 < factor < 64 and not after.flag("no_op"):
            width = -(-int(2 * factor * hidden / 3) // 256) * 256
        key = (kv_heads, width, mixer.flag("replace_with_linear"), after.flag("replace_with_linear"))
        if key not in made:
            made[key] = _searched_block(hidden, heads, head_dim, key)
        blocks.append(made[key])
        most, widest = max(most, kv_heads), max(widest, width)
    shape = Shape(
        layers, hidden, heads, most, head_dim, widest, facts.number("vocab_size"),
        facts.flag("tie_word_embeddings"), context_of(facts),
    )  # fmt: skip
    return assemble(facts, shape, architecture="deci", model_type="nemotron-nas", blocks=blocks)


def _searched_block(hidden: int, heads: int, head_dim: int, key: tuple[int, int, bool, bool]) -> Block:
    kv_heads, width, straight_attention, straight_after = key
    tensors: list[Tensor] = []
    if kv_heads:
        tensors += [*attention(hidden, heads, kv_heads, head_dim), vector("attn_norm", hidden)]
    elif straight_attention:
        tensors += [*linear("attn_output", hidden, hidden, "query"), vector("attn_norm", hidden)]
    if width:
        tensors += [*feed_forward(hidden, width), vector("ffn_norm", hidden)]
    elif straight_after:
        tensors += [*linear("ffn_down", hidden, hidden, "mlp"), vector("ffn_norm", hidden)]
    cache = Cache("full", kv_heads, kv_heads * head_dim, kv_heads * head_dim) if kv_heads else Cache("none")
    return Block(tuple(tensors), cache)


def _whisper(facts: Facts) -> Blueprint:
    """Whisper: an audio encoder, and a decoder that attends to itself and to the encoder's positions."""
    hidden = facts.number("d_model", "hidden_size")
    heads = facts.number("decoder_attention_heads")
    width, encoder_width = facts.number("decoder_ffn_dim"), facts.number("encoder_ffn_dim")
    layers, encoder_layers = facts.layers("decoder_layers"), facts.layers("encoder_layers")
    source, target = (
        facts.number("max_source_positions", default=1500),
        facts.number("max_target_positions", default=448),
    )
    mel, vocabulary = facts.number("num_mel_bins", default=80), facts.number("vocab_size")
    head_dim = hidden // heads or 1
    own = _biased(hidden, "attn", "query", "key_value")
    cross = _biased(hidden, "cross_attn", "cross", "cross")
    after = feed_forward(hidden, width, gate=False, bias=True)
    tensors = [*own, *cross, *after, *norms(hidden, 3, bias=True)]
    cache = Cache("full", heads, hidden, hidden, cross_values=2 * hidden * source)
    shape = Shape(layers, hidden, heads, heads, head_dim, width, vocabulary, True, target)
    blueprint = assemble(
        facts,
        shape,
        architecture="whisper",
        model_type="whisper",
        blocks=[Block(tuple(tensors), cache)] * layers,
        final=[vector("output_norm", hidden), vector("output_norm.bias", hidden)],
    )
    each = sum(t.elements for t in (*own, *feed_forward(hidden, encoder_width, gate=False, bias=True)))
    each += 4 * hidden
    convolutions = 3 * mel * hidden + hidden + 3 * hidden * hidden + hidden
    count = convolutions + source * hidden + encoder_layers * each + 2 * hidden
    tower = Encoder("audio", 0, None, encoder_layers, hidden, encoder_width, heads, source, source)
    position = Tensor("position_embd", (hidden, target), "replicated")
    return blueprint._replace(
        embedding=(*blueprint.embedding, position), encoders=((tower, count),), encoder_decoder=True
    )


def _biased(hidden: int, name: str, query: str, key_value: str) -> list[Tensor]:
    """Whisper's attention: biases everywhere but on the key."""
    return [
        *linear(f"{name}_q", hidden, hidden, query, bias=True),
        *linear(f"{name}_k", hidden, hidden, key_value),
        *linear(f"{name}_v", hidden, hidden, key_value, bias=True),
        *linear(f"{name}_output", hidden, hidden, query, bias=True),
    ]
