"""Gemma 4: full layers with wide heads whose keys are their values, a mixture beside the dense block."""

from gpudoctor.fit.model import Attention, Cache, Experts
from gpudoctor.fit.sources.common import assemble, norms, shape_of
from gpudoctor.fit.sources.facts import Facts
from gpudoctor.fit.sources.layouts import attention_kinds, window_of
from gpudoctor.fit.sources.parts import feed_forward, linear, mixture, vector
from gpudoctor.fit.sources.tensors import Block, Blueprint, Tensor


def gemma4(facts: Facts, model_type: str) -> Blueprint:
    """The blueprint of a Gemma 4 language model."""
    shape = shape_of(facts, tied=True)
    hidden, per_layer = shape.hidden, facts.maybe("hidden_size_per_layer_input", least=0) or 0
    kinds = attention_kinds(facts, "gemma3_text", shape.layers)
    wide = facts.number("global_head_dim", default=shape.head_dim)
    few = facts.number("num_global_key_value_heads", default=shape.kv_heads)
    shared = facts.maybe("num_kv_shared_layers", least=0) or 0
    experts = None
    if facts.flag("enable_moe_block"):
        count = facts.number("num_experts")
        experts = Experts(count, facts.number("top_k_experts", default=8), facts.number("moe_intermediate_size"))

    def make(kind: Attention, is_shared: bool) -> Block:
        full = kind == "full"
        same = full and facts.flag("attention_k_eq_v")
        head_dim, kv_heads = (wide, few if same else shape.kv_heads) if full else (shape.head_dim, shape.kv_heads)
        width = shape.intermediate * (2 if is_shared and facts.flag("use_double_wide_mlp") else 1)
        tensors = [
            *linear("attn_q", hidden, shape.heads * head_dim, "query"),
            *linear("attn_k", hidden, kv_heads * head_dim, "key_value"),
            *(() if same else linear("attn_v", hidden, kv_heads * head_dim, "key_value")),
            *linear("attn_output", shape.heads * head_dim, hidden, "query"),
            vector("attn_q_norm", head_dim),
            vector("attn_k_norm", head_dim),
            *norms(hidden, 4),
            vector("layer_output_scale", 1),
            *feed_forward(hidden, width),
        ]
        if experts:
            tensors += mixture(hidden, experts.intermediate, experts.total)
            tensors += [vector("ffn_gate_inp.scale", hidden), vector("ffn_down_exps.scale", experts.total)]
            tensors += [vector(f"{name}_norm", hidden) for name in ("post_ffw_1", "pre_ffw_2", "post_ffw_2")]
        if per_layer:
            tensors += linear("inp_gate", hidden, per_layer, "replicated")
            tensors += [*linear("proj", per_layer, hidden, "replicated"), vector("post_norm", hidden)]
        size = kv_heads * head_dim
        cache = Cache(kind, kv_heads, size, size, window_of(facts) if kind == "sliding" else 0, shared=is_shared)
        return Block(tuple(tensors), cache, experts is not None)

    made: dict[tuple[Attention, bool], Block] = {}
    blocks = []
    for index, kind in enumerate(kinds):
        key = (kind, index >= shape.layers - shared)
        if key not in made:
            made[key] = make(*key)
        blocks.append(made[key])
    final = [vector("output_norm", hidden)]
    host = []
    if per_layer:
        rows = facts.number("vocab_size_per_layer_input", default=shape.vocabulary)
        final += [Tensor("per_layer_model_proj", (hidden, shape.layers * per_layer), "replicated")]
        final += [vector("per_layer_proj_norm", per_layer)]
        host = [Tensor("per_layer_token_embd", (shape.layers * per_layer, rows), "replicated")]
    return assemble(
        facts,
        shape,
        architecture="gemma4",
        model_type=model_type,
        blocks=blocks,
        final=final,
        host=host,
        experts=experts,
    )
