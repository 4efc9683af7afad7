"""Qwen's hybrids: gated delta-rule layers with a full-attention layer among every few (Qwen3-Next, Qwen3.5)."""

from gpudoctor.fit.model import Cache, Experts
from gpudoctor.fit.sources.common import assemble, norms, shape_of
from gpudoctor.fit.sources.facts import Facts
from gpudoctor.fit.sources.parts import attention, delta_net, feed_forward, mixture, vector
from gpudoctor.fit.sources.tensors import Block, Blueprint, Tensor

ARCHITECTURES = {
    "qwen3_next": "qwen3next",
    "qwen3_5_text": "qwen35",
    "qwen3_5_moe_text": "qwen35moe",
    "qwen3_5": "qwen35",
    "qwen3_5_moe": "qwen35moe",
}
"""GGUF's name of every architecture here, by model_type."""


def delta(facts: Facts, model_type: str) -> Blueprint:
    """The blueprint of a delta-rule hybrid."""
    moe = "moe" in model_type or model_type == "qwen3_next"
    shape = shape_of(facts, intermediate=1 if moe else None)
    key_heads, value_heads = facts.number("linear_num_key_heads"), facts.number("linear_num_value_heads")
    key_dim = facts.number("linear_key_head_dim", default=128)
    value_dim = facts.number("linear_value_head_dim", default=128)
    kernel = facts.number("linear_conv_kernel_dim", default=4)
    every = facts.number("full_attention_interval", default=4)
    kinds = facts.words("layer_types")
    full = [
        kinds[i] == "full_attention" if len(kinds) == shape.layers else not (i + 1) % every for i in range(shape.layers)
    ]
    experts, shared = None, 0
    if moe:
        shared = facts.number("shared_expert_intermediate_size", default=0, least=0)
        width = facts.number("moe_intermediate_size")
        experts = Experts(facts.number("num_experts"), facts.number("num_experts_per_tok"), width, 1 if shared else 0)

    def rest() -> list[Tensor]:
        tensors = norms(shape.hidden, 2)
        if experts is None:
            return tensors + feed_forward(shape.hidden, shape.intermediate)
        return tensors + mixture(
            shape.hidden, experts.intermediate, experts.total, shared_width=shared, shared_gate=bool(shared)
        )

    attending = attention(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim, head_norm=True, gated=True)
    width = shape.kv_heads * shape.head_dim
    block = Block(tuple(attending + rest()), Cache("full", shape.kv_heads, width, width), moe)
    convolved = 2 * key_heads * key_dim + value_heads * value_dim
    state = Cache(
        "none", conv_state_values=(kernel - 1) * convolved, ssm_state_values=value_heads * key_dim * value_dim
    )
    mixing = delta_net(shape.hidden, key_heads, value_heads, key_dim, value_dim, kernel)
    recurrent = Block(tuple(mixing + rest()), state, moe)
    draft: list[Tensor] = []
    for _ in range(facts.drafts()):
        draft += attending + rest()
        draft += [Tensor("nextn.eh_proj", (2 * shape.hidden, shape.hidden), "mlp")]
        draft += [vector(f"nextn.{name}", shape.hidden) for name in ("enorm", "hnorm", "shared_head_norm")]
    return assemble(
        facts,
        shape._replace(intermediate=experts.intermediate if experts else shape.intermediate),
        architecture=ARCHITECTURES[model_type],
        model_type=model_type,
        blocks=[block if is_full else recurrent for is_full in full],
        experts=experts,
        draft=draft,
    )
