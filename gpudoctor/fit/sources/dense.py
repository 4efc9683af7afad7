"""Dense decoders: one attention and one feed-forward block a layer, told apart by a few switches."""

from typing import NamedTuple

from gpudoctor.fit.sources.common import assemble, norms, repeated, shape_of
from gpudoctor.fit.sources.facts import Facts
from gpudoctor.fit.sources.parts import attention, feed_forward, vector
from gpudoctor.fit.sources.tensors import Blueprint, Tensor


class Style(NamedTuple):
    """How a dense architecture differs from Llama."""

    architecture: str
    norms: int = 2
    norm_bias: bool = False
    bias: bool | None = None
    """Bias of query, key and value; None when the configuration says."""
    output_bias: bool | None = None
    head_norm: bool = False
    full_norm: bool = False
    fused: bool = False
    gate: bool = True
    mlp_bias: bool | None = None
    tied: bool = False
    intermediate_factor: int = 0
    """Default width of the feed-forward block in hidden sizes, 0 for none."""


STYLES: dict[str, Style] = {
    "llama": Style("llama"),
    "mistral": Style("llama", bias=False),
    "ministral": Style("llama", bias=False),
    "ministral3": Style("mistral3", bias=False),
    "qwen2": Style("qwen2", bias=True, output_bias=False),
    "qwen3": Style("qwen3", head_norm=True),
    "gemma": Style("gemma", tied=True),
    "gemma2": Style("gemma2", norms=4, tied=True),
    "gemma3_text": Style("gemma3", norms=4, head_norm=True, tied=True),
    "phi3": Style("phi3", bias=False, fused=True),
    "exaone": Style("exaone", bias=False),
    "exaone4": Style("exaone4", bias=False, head_norm=True),
    "hyperclovax": Style("hyperclovax"),
    "cohere": Style("command-r", norms=1, tied=True),
    "cohere2": Style("cohere2", norms=1, tied=True),
    "granite": Style("granite"),
    "olmo": Style("olmo", norms=0),
    "olmo2": Style("olmo2", full_norm=True),
    "olmo3": Style("olmo2", full_norm=True),
    "smollm3": Style("smollm3", tied=True),
    "starcoder2": Style(
        "starcoder2", norm_bias=True, bias=True, output_bias=True, gate=False, mlp_bias=True, tied=True
    ),
    "nemotron": Style("nemotron", norm_bias=True, gate=False),
    "stablelm": Style("stablelm", norm_bias=True),
    "glm": Style("glm4", bias=True, fused=False, output_bias=False),
    "glm4": Style("glm4", norms=4, output_bias=False),
    "internlm2": Style("internlm2"),
    "internlm3": Style("llama"),
    "baichuan": Style("baichuan", bias=False),
    "seed_oss": Style("seed_oss", bias=True, output_bias=False),
    "minicpm": Style("minicpm", bias=False),
    "ernie4_5": Style("ernie4_5", tied=True),
    "hunyuan_v1_dense": Style("hunyuan-dense", head_norm=True, tied=True),
    "arcee": Style("arcee", gate=False),
    "apertus": Style("apertus", head_norm=True, gate=False),
    "helium": Style("llama", bias=False),
    "mimo": Style("qwen2", bias=True, output_bias=False),
    "qwen2_vl_text": Style("qwen2vl", bias=True, output_bias=False),
    "qwen2_5_vl_text": Style("qwen2vl", bias=True, output_bias=False),
    "qwen3_vl_text": Style("qwen3vl", head_norm=True),
}
"""Every dense architecture that differs from Llama only by these switches, by model_type."""


def layer_tensors(
    facts: Facts, style: Style, shape_hidden: int, heads: int, kv_heads: int, head_dim: int
) -> list[Tensor]:
    """Attention and norms of one layer, without its feed-forward block."""
    config_bias = (
        facts.flag("attention_bias") or facts.flag("use_bias") or facts.flag("use_qkv_bias") or facts.flag("qkv_bias")
    )
    bias = config_bias if style.bias is None else style.bias
    out = facts.flag("attention_out_bias", bias) if style.output_bias is None else style.output_bias
    count = 4 if facts.flag("use_post_norm") else style.norms
    head_norm = style.head_norm
    tensors = attention(
        shape_hidden, heads, kv_heads, head_dim,
        bias=bias, output_bias=out, head_norm=head_norm, full_norm=style.full_norm, fused=style.fused,
    )  # fmt: skip
    if style.architecture == "command-r" and facts.flag("use_qk_norm"):
        tensors += [vector("attn_q_norm", heads * head_dim), vector("attn_k_norm", kv_heads * head_dim)]
    return tensors + norms(shape_hidden, count, bias=style.norm_bias)


def dense(facts: Facts, model_type: str) -> Blueprint:
    """The blueprint of a dense decoder."""
    style = STYLES[model_type]
    shape = shape_of(facts, tied=style.tied)
    mlp_bias = facts.flag("mlp_bias") or facts.flag("use_bias") if style.mlp_bias is None else style.mlp_bias
    fused = style.architecture in ("phi3", "glm4")

    def make(_: int, __: bool) -> list[Tensor]:
        return [
            *layer_tensors(facts, style, shape.hidden, shape.heads, shape.kv_heads, shape.head_dim),
            *feed_forward(shape.hidden, shape.intermediate, gate=style.gate, bias=mlp_bias, fused=fused),
        ]

    final = [vector("output_norm", shape.hidden)] if style.norms or model_type != "olmo" else []
    final += [vector("output_norm.bias", shape.hidden)] * style.norm_bias
    return assemble(
        facts,
        shape,
        architecture=style.architecture,
        model_type=model_type,
        blocks=repeated(facts, shape, model_type, make),
        final=final,
        draft=draft_layers(facts, shape.hidden, make(0, False)),
    )


def draft_layers(facts: Facts, hidden: int, layer: list[Tensor]) -> list[Tensor]:
    """Multi-token-prediction layers: a whole layer each, a projection of two states to one and three norms."""
    tensors: list[Tensor] = []
    for _ in range(facts.drafts()):
        tensors += [*layer, Tensor("nextn.eh_proj", (2 * hidden, hidden), "mlp")]
        tensors += [vector(f"nextn.{name}", hidden) for name in ("enorm", "hnorm", "shared_head_norm")]
    return tensors
