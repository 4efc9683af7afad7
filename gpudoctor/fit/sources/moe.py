"""Decoders whose feed-forward blocks are mixtures of experts, with ordinary attention."""

from gpudoctor.fit.model import Experts
from gpudoctor.fit.sources.common import assemble, norms, repeated, shape_of
from gpudoctor.fit.sources.dense import draft_layers
from gpudoctor.fit.sources.facts import Facts
from gpudoctor.fit.sources.parts import attention, feed_forward, mixture, vector
from gpudoctor.fit.sources.tensors import Blueprint, Tensor

ARCHITECTURES = {
    "mixtral": "llama", "qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "gpt_oss": "gptoss",
    "phimoe": "phimoe", "olmoe": "olmoe", "granitemoe": "granitemoe", "glm4_moe": "glm4moe",
    "minimax_m2": "minimax-m2", "qwen3_vl_moe_text": "qwen3vlmoe", "ernie4_5_moe": "ernie4_5-moe",
    "hunyuan_v1_moe": "hunyuan-moe", "dots1": "dots1", "bailing_moe": "bailingmoe",
    "bailing_moe_v2": "bailingmoe2", "flex_olmo": "olmoe", "exaone_moe": "exaone-moe", "dbrx": "dbrx",
}  # fmt: skip
"""GGUF's name of every architecture here, by model_type."""

_HEAD_NORM = frozenset(["qwen3_moe", "qwen3_vl_moe_text", "hunyuan_v1_moe", "dots1", "bailing_moe_v2", "exaone_moe"])
_SELECTION = frozenset(["glm4_moe", "minimax_m2", "dots1", "ernie4_5_moe", "bailing_moe_v2", "exaone_moe"])


def _experts(facts: Facts, model_type: str, intermediate: int) -> tuple[Experts, int]:
    """The mixture's shape and the width of the experts that always run, all of them together."""
    total = facts.number("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    active = facts.number("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", default=2)
    width = facts.number("moe_intermediate_size", "moe_ffn_hidden_size", default=intermediate)
    shared = (
        facts.maybe("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert", least=0)
        or 0
    )
    if model_type == "qwen2_moe":
        shared_width = facts.number("shared_expert_intermediate_size")
        return Experts(total, active, width, 1), shared_width
    return Experts(total, active, width, shared), shared * width


def _routed_layers(facts: Facts, model_type: str, layers: int) -> list[bool]:
    first = facts.maybe("first_k_dense_replace", "moe_layer_start_index", least=0) or 0
    step = facts.maybe("decoder_sparse_step", "moe_layer_interval") or 1
    plain = set(facts.numbers("mlp_only_layers"))
    kinds = facts.words("mlp_layer_types")
    if len(kinds) == layers:
        return [kind == "sparse" for kind in kinds]
    start = 0 if model_type == "qwen2_moe" else first
    return [i >= start and i not in plain and not ((i + 1) % step) for i in range(layers)]


def routed(facts: Facts, model_type: str) -> Blueprint:
    """The blueprint of a mixture-of-experts decoder."""
    shape = shape_of(facts, tied=model_type in ("hunyuan_v1_moe",))
    experts, shared_width = _experts(facts, model_type, shape.intermediate)
    oss = model_type == "gpt_oss"
    phi = model_type == "phimoe"
    sparse = _routed_layers(facts, model_type, shape.layers)
    bias = facts.flag("attention_bias", oss or phi or model_type == "qwen2_moe")
    head_norm = model_type in _HEAD_NORM or (model_type == "glm4_moe" and facts.flag("use_qk_norm"))
    full_norm = model_type in ("olmoe", "flex_olmo", "minimax_m2")

    def make(_: int, is_routed: bool) -> list[Tensor]:
        tensors = attention(
            shape.hidden, shape.heads, shape.kv_heads, shape.head_dim,
            bias=bias, output_bias=bias and (oss or phi), sinks=oss, head_norm=head_norm, full_norm=full_norm,
        )  # fmt: skip
        tensors += norms(shape.hidden, 2, bias=phi)
        if not is_routed:
            return tensors + feed_forward(shape.hidden, shape.intermediate)
        return tensors + mixture(
            shape.hidden, experts.intermediate, experts.total,
            shared_width=shared_width, shared_gate=model_type == "qwen2_moe",
            router_bias=oss, bias=oss, selection_bias=model_type in _SELECTION,
        )  # fmt: skip

    draft: list[Tensor] = []
    if model_type == "exaone_moe":
        draft = draft_layers(facts, shape.hidden, make(0, False))
    if model_type == "glm4_moe":
        for _ in range(facts.drafts()):
            draft += [*make(0, True), Tensor("nextn.eh_proj", (2 * shape.hidden, shape.hidden), "mlp")]
            draft += [vector(f"nextn.{name}", shape.hidden) for name in ("enorm", "hnorm", "shared_head_norm")]
            matrix = (shape.hidden, shape.vocabulary)
            draft += [Tensor("nextn.embed_tokens", matrix, "mlp"), Tensor("nextn.shared_head_head", matrix, "mlp")]
    final = [vector("output_norm", shape.hidden)] + [vector("output_norm.bias", shape.hidden)] * phi
    blueprint = assemble(
        facts,
        shape,
        architecture=ARCHITECTURES[model_type],
        model_type=model_type,
        blocks=repeated(facts, shape, model_type, make, lambda i: sparse[i]),
        final=final,
        experts=experts,
        output_bias=phi and facts.flag("lm_head_bias", True),
        draft=draft,
    )
    return blueprint._replace(quantization="MXFP4") if oss else blueprint
