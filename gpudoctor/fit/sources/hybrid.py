"""Mamba and its hybrids: layers that keep a state of fixed size instead of a cache that grows."""

from gpudoctor.fit.model import Cache, Experts
from gpudoctor.fit.sources.common import Shape, assemble, context_of, norms
from gpudoctor.fit.sources.facts import Facts
from gpudoctor.fit.sources.parts import attention, feed_forward, linear, mamba, mamba2, mixture, vector
from gpudoctor.fit.sources.tensors import Block, Blueprint, Tensor

ARCHITECTURES = {
    "mamba": "mamba", "falcon_mamba": "mamba", "mamba2": "mamba2", "nemotron_h": "nemotron_h", "falcon_h1": "falcon-h1",
    "granitemoehybrid": "granitehybrid", "bamba": "bamba", "jamba": "jamba", "lfm2": "lfm2", "lfm2_moe": "lfm2moe",
}  # fmt: skip
"""GGUF's name of every architecture here, by model_type."""


def hybrid(facts: Facts, model_type: str) -> Blueprint:
    """The blueprint of a recurrent or hybrid model."""
    rule = {
        "mamba": _mamba, "falcon_mamba": _mamba, "mamba2": _mamba2, "nemotron_h": _nemotron, "falcon_h1": _falcon,
        "granitemoehybrid": _granite, "bamba": _granite, "jamba": _jamba, "lfm2": _lfm, "lfm2_moe": _lfm,
    }[model_type]  # fmt: skip
    return rule(facts, model_type)


def _shape(facts: Facts, *, tied: bool, heads: int = 0) -> Shape:
    hidden = facts.number("hidden_size", "d_model")
    count = facts.maybe("num_attention_heads", least=0) or heads
    return Shape(
        layers=facts.layers("num_hidden_layers", "n_layer"),
        hidden=hidden,
        heads=count,
        kv_heads=facts.number("num_key_value_heads", default=count, least=0),
        head_dim=facts.maybe("attention_head_dim", "head_dim") or (hidden // count if count else 0),
        intermediate=facts.maybe("intermediate_size", least=0) or 0,
        vocabulary=facts.number("vocab_size"),
        tied=facts.flag("tie_word_embeddings", tied),
        context=context_of(facts),
    )


def _attention_cache(shape: Shape) -> Cache:
    width = shape.kv_heads * shape.head_dim
    return Cache("full", shape.kv_heads, width, width)


def _assemble(
    facts: Facts, shape: Shape, model_type: str, blocks: list[Block], experts: Experts | None = None
) -> Blueprint:
    return assemble(
        facts, shape, architecture=ARCHITECTURES[model_type], model_type=model_type, blocks=blocks, experts=experts
    )


def _mamba(facts: Facts, model_type: str) -> Blueprint:
    shape = _shape(facts, tied=model_type == "mamba")
    inner = facts.maybe("intermediate_size", "d_inner") or facts.number("expand", default=2) * shape.hidden
    state, kernel = facts.number("state_size", "d_state", default=16), facts.number("conv_kernel", "d_conv", default=4)
    rank = facts.maybe("time_step_rank") or -(-shape.hidden // 16)
    tensors = [*mamba(shape.hidden, inner, state, kernel, rank), *norms(shape.hidden, 1)]
    cache = Cache("none", conv_state_values=(kernel - 1) * inner, ssm_state_values=inner * state)
    return _assemble(facts, shape, model_type, [Block(tuple(tensors), cache)] * shape.layers)


def _mamba2(facts: Facts, model_type: str) -> Blueprint:
    shape = _shape(facts, tied=False)._replace(heads=0, kv_heads=0, head_dim=0)
    inner = facts.number("expand", default=2) * shape.hidden
    heads = facts.number("num_heads", default=inner // facts.number("head_dim", default=64))
    groups, state = facts.number("n_groups", default=8), facts.number("state_size", default=128)
    kernel = facts.number("conv_kernel", default=4)
    tensors = [*mamba2(shape.hidden, inner, heads, groups, state, kernel), *norms(shape.hidden, 1)]
    return _assemble(
        facts, shape, model_type, [Block(tuple(tensors), _state(inner, groups, state, kernel))] * shape.layers
    )


def _state(inner: int, groups: int, state: int, kernel: int) -> Cache:
    convolved = inner + 2 * groups * state
    return Cache("none", conv_state_values=(kernel - 1) * convolved, ssm_state_values=inner * state)


def _nemotron(facts: Facts, model_type: str) -> Blueprint:
    """Nemotron-H: one of Mamba-2, attention, dense or routed feed-forward a layer, spelt as a word."""
    shape = _shape(facts, tied=False)
    pattern = facts.text("hybrid_override_pattern")
    if len(pattern) != shape.layers or set(pattern) - set("M*-E"):
        raise facts.wrong("hybrid_override_pattern", "does not name a kind for every layer")
    heads, size = facts.number("mamba_num_heads"), facts.number("mamba_head_dim")
    groups, state = facts.number("n_groups", default=8), facts.number("ssm_state_size", default=128)
    kernel, inner = facts.number("conv_kernel", default=4), heads * size
    bias = facts.flag("mlp_bias")
    norm = norms(shape.hidden, 1)
    none = Cache("none")
    made = {
        "M": Block(
            (*norm, *mamba2(shape.hidden, inner, heads, groups, state, kernel, bias=facts.flag("mamba_proj_bias"))),
            _state(inner, groups, state, kernel),
        ),
        "*": Block(
            (*norm, *attention(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim)), _attention_cache(shape)
        ),
        "-": Block((*norm, *feed_forward(shape.hidden, shape.intermediate or 1, gate=False, bias=bias)), none),
    }
    experts = None
    if "E" in pattern:
        count = facts.number("n_routed_experts")
        width = facts.number("moe_intermediate_size")
        shared = facts.number("moe_shared_expert_intermediate_size", default=0, least=0)
        experts = Experts(count, facts.number("num_experts_per_tok"), width, 1 if shared else 0)
        routed = mixture(shape.hidden, width, count, shared_width=shared, selection_bias=True, gate=False)
        made["E"] = Block((*norm, *routed), none, routed=True)
    return _assemble(facts, shape, model_type, [made[kind] for kind in pattern], experts)


def _falcon(facts: Facts, model_type: str) -> Blueprint:
    """Falcon-H1: attention and Mamba-2 side by side in every layer."""
    shape = _shape(facts, tied=False)
    inner = facts.maybe("mamba_d_ssm") or facts.number("mamba_expand", default=2) * shape.hidden
    heads, groups = facts.number("mamba_n_heads"), facts.number("mamba_n_groups", default=1)
    state, kernel = facts.number("mamba_d_state", default=256), facts.number("mamba_d_conv", default=4)
    tensors = [
        *attention(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim, bias=facts.flag("attention_bias")),
        *mamba2(shape.hidden, inner, heads, groups, state, kernel, norm=facts.flag("mamba_rms_norm")),
        *feed_forward(shape.hidden, shape.intermediate),
        *norms(shape.hidden, 2),
    ]
    mixed = _state(inner, groups, state, kernel)
    cache = _attention_cache(shape)._replace(
        conv_state_values=mixed.conv_state_values, ssm_state_values=mixed.ssm_state_values
    )
    return _assemble(facts, shape, model_type, [Block(tuple(tensors), cache)] * shape.layers)


def _granite(facts: Facts, model_type: str) -> Blueprint:
    """Granite 4 and Bamba: Mamba-2 layers with a few attention layers, dense or routed, with a shared block."""
    shape = _shape(facts, tied=model_type == "granitemoehybrid")
    kinds = facts.words("layer_types", "layers_block_type")
    chosen = set(facts.numbers("attn_layer_indices"))
    if not kinds:
        kinds = ["attention" if i in chosen else "mamba" for i in range(shape.layers)]
    if len(kinds) != shape.layers or set(kinds) - {"attention", "mamba"}:
        raise facts.wrong("layer_types", "does not name a kind for every layer")
    inner = facts.number("mamba_expand", default=2) * shape.hidden
    heads, groups = facts.number("mamba_n_heads", default=128), facts.number("mamba_n_groups", default=1)
    state, kernel = facts.number("mamba_d_state", default=256), facts.number("mamba_d_conv", default=4)
    count = facts.maybe("num_local_experts", least=0) or 0
    shared = facts.maybe("shared_intermediate_size", least=0) or 0
    experts = None
    if count:
        experts = Experts(count, facts.number("num_experts_per_tok"), shape.intermediate, 1 if shared else 0)
        after = mixture(shape.hidden, shape.intermediate, count, shared_width=shared)
    else:
        after = feed_forward(shape.hidden, shared or shape.intermediate)
    after += norms(shape.hidden, 2)
    attending = attention(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim)
    full = Block((*attending, *after), _attention_cache(shape), bool(count))
    mixing = mamba2(shape.hidden, inner, heads, groups, state, kernel)
    recurrent = Block((*mixing, *after), _state(inner, groups, state, kernel), bool(count))
    return _assemble(facts, shape, model_type, [full if kind == "attention" else recurrent for kind in kinds], experts)


def _jamba(facts: Facts, model_type: str) -> Blueprint:
    """Jamba: Mamba-1 layers, attention and experts each in their own period."""
    shape = _shape(facts, tied=False)
    inner = facts.number("mamba_expand", default=2) * shape.hidden
    state, kernel = facts.number("mamba_d_state", default=16), facts.number("mamba_d_conv", default=4)
    rank = facts.maybe("mamba_dt_rank") or -(-shape.hidden // 16)
    count = facts.number("num_experts", default=16)
    experts = Experts(count, facts.number("num_experts_per_tok", default=2), shape.intermediate)
    every, first = facts.number("attn_layer_period", default=8), facts.number("attn_layer_offset", default=4, least=0)
    step, start = (
        facts.number("expert_layer_period", default=2),
        facts.number("expert_layer_offset", default=1, least=0),
    )
    mixing = mamba(shape.hidden, inner, state, kernel, rank, norms=True)
    attending = attention(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim)
    kept = Cache("none", conv_state_values=(kernel - 1) * inner, ssm_state_values=inner * state)
    made: dict[tuple[bool, bool], Block] = {}
    blocks = []
    for index in range(shape.layers):
        key = (index % every == first, count > 1 and index % step == start)
        if key not in made:
            after = (
                mixture(shape.hidden, shape.intermediate, count)
                if key[1]
                else feed_forward(shape.hidden, shape.intermediate)
            )
            tensors = [*(attending if key[0] else mixing), *after, *norms(shape.hidden, 2)]
            made[key] = Block(tuple(tensors), _attention_cache(shape) if key[0] else kept, key[1])
        blocks.append(made[key])
    return _assemble(facts, shape, model_type, blocks, experts)


def _lfm(facts: Facts, model_type: str) -> Blueprint:
    """LFM2: short convolutions with a few attention layers."""
    shape = _shape(facts, tied=True)
    kinds = facts.words("layer_types")
    if not kinds:
        full = set(facts.numbers("full_attn_idxs"))
        kinds = ["full_attention" if i in full else "conv" for i in range(shape.layers)]
    if len(kinds) != shape.layers or set(kinds) - {"full_attention", "conv"}:
        raise facts.wrong("layer_types", "does not name a kind for every layer")
    width = shape.intermediate
    if facts.flag("block_auto_adjust_ff_dim", model_type == "lfm2"):
        multiple = facts.number("block_multiple_of", default=256)
        factor = facts.config.get("block_ffn_dim_multiplier", 1.0)
        adjusted = int((factor if isinstance(factor, int | float) else 1.0) * int(2 * width / 3))
        width = -(-adjusted // multiple) * multiple
    kernel = facts.number("conv_L_cache", default=3)
    first = facts.maybe("num_dense_layers", least=0) or 0
    count = facts.maybe("num_experts", least=0) or 0
    experts = None
    if count:
        experts = Experts(count, facts.number("num_experts_per_tok"), facts.number("moe_intermediate_size"))
    attending = attention(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim, head_norm=True)
    mixing = [
        *linear("shortconv.in_proj", shape.hidden, 3 * shape.hidden, "recurrent"),
        Tensor("shortconv.conv", (kernel, shape.hidden), "recurrent"),
        *linear("shortconv.out_proj", shape.hidden, shape.hidden, "recurrent"),
    ]
    kept = Cache("none", conv_state_values=(kernel - 1) * shape.hidden)
    made: dict[tuple[str, bool], Block] = {}
    blocks = []
    for index, kind in enumerate(kinds):
        key = (kind, bool(count) and index >= first)
        if key not in made:
            after = (
                mixture(shape.hidden, experts.intermediate, count, selection_bias=facts.flag("use_expert_bias", True))
                if experts and key[1]
                else feed_forward(shape.hidden, width)
            )
            attends = kind == "full_attention"
            tensors = [*(attending if attends else mixing), *after, *norms(shape.hidden, 2)]
            made[key] = Block(tuple(tensors), _attention_cache(shape) if attends else kept, key[1])
        blocks.append(made[key])
    shape = shape._replace(intermediate=width)
    return _assemble(facts, shape, model_type, blocks, experts)._replace(final=(vector("output_norm", shape.hidden),))
