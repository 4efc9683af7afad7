"""DeepSeek's family: multi-head latent attention, a mixture of experts after some dense layers."""

from gpudoctor.fit.model import Cache, Experts, Latent
from gpudoctor.fit.sources.common import Shape, assemble, context_of, norms
from gpudoctor.fit.sources.facts import Facts
from gpudoctor.fit.sources.parts import feed_forward, latent_attention, linear, mixture, vector
from gpudoctor.fit.sources.tensors import Block, Blueprint, Tensor

ARCHITECTURES = {
    "deepseek_v2": "deepseek2", "deepseek_v3": "deepseek2", "kimi_k2": "deepseek2", "deepseek_v32": "deepseek2",
    "glm4_moe_lite": "deepseek2", "glm_moe_dsa": "glm-dsa", "minicpm3": "minicpm3", "mistral4": "mistral4",
}  # fmt: skip
"""GGUF's name of every architecture here, by model_type."""


def indexer(hidden: int, query_rank: int, heads: int, head_dim: int) -> list[Tensor]:
    """DeepSeek's sparse-attention indexer, which picks the tokens that a query looks at."""
    return [
        *linear("indexer.attn_q_b", query_rank, heads * head_dim, "replicated"),
        *linear("indexer.attn_k", hidden, head_dim, "replicated"),
        vector("indexer.k_norm", head_dim),
        vector("indexer.k_norm.bias", head_dim),
        *linear("indexer.proj", hidden, heads, "replicated"),
    ]


def latent(facts: Facts, model_type: str) -> Blueprint:
    """The blueprint of a model with latent attention."""
    hidden, heads = facts.number("hidden_size"), facts.number("num_attention_heads")
    kv_rank, rope = facts.number("kv_lora_rank"), facts.number("qk_rope_head_dim")
    nope = facts.number("qk_nope_head_dim")
    value = facts.number("v_head_dim", default=nope)
    query_rank = facts.maybe("q_lora_rank", least=0)
    count = facts.maybe("n_routed_experts", least=0) or 0
    width = facts.number("moe_intermediate_size", default=1) if count else 0
    shared = (facts.maybe("n_shared_experts", least=0) or 0) if count else 0
    active = facts.number("num_experts_per_tok", default=2) if count else 0
    shape = Shape(
        layers=facts.layers("num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=1,
        head_dim=nope + rope,
        intermediate=facts.number("intermediate_size"),
        vocabulary=facts.number("vocab_size"),
        tied=facts.flag("tie_word_embeddings"),
        context=context_of(facts),
    )
    first = (facts.maybe("first_k_dense_replace", least=0) or 0) if count else shape.layers
    index_heads = facts.maybe("index_n_heads", least=0) or 0 if facts.maybe("index_topk", least=0) and query_rank else 0
    index_dim = facts.number("index_head_dim", default=128)
    spread = facts.words("indexer_types")
    indexed = [bool(index_heads) and (len(spread) != shape.layers or spread[i] == "full") for i in range(shape.layers)]
    memory = Cache("latent", 1, kv_rank + rope, 0)
    selection = facts.text("topk_method") == "noaux_tc" or model_type in (
        "deepseek_v3",
        "deepseek_v32",
        "kimi_k2",
        "glm4_moe_lite",
        "glm_moe_dsa",
    )

    def make(is_routed: bool, with_indexer: bool) -> list[Tensor]:
        tensors = latent_attention(
            hidden, heads, query_rank=query_rank, kv_rank=kv_rank, nope=nope, rope=rope, value=value
        )
        tensors += norms(hidden, 2)
        if with_indexer:
            tensors += indexer(hidden, query_rank or 1, index_heads, index_dim)
        if not is_routed:
            return tensors + feed_forward(hidden, shape.intermediate)
        return tensors + mixture(hidden, width, count, shared_width=shared * width, selection_bias=selection)

    made: dict[tuple[bool, bool], Block] = {}
    blocks = []
    for index, with_indexer in enumerate(indexed):
        key = (bool(count) and index >= first, with_indexer)
        if key not in made:
            made[key] = Block(tuple(make(*key)), memory, routed=key[0])
        blocks.append(made[key])
    draft: list[Tensor] = []
    for _ in range(facts.drafts()):
        draft += [*make(bool(count), bool(index_heads)), Tensor("nextn.eh_proj", (2 * hidden, hidden), "mlp")]
        draft += [vector(f"nextn.{name}", hidden) for name in ("enorm", "hnorm", "shared_head_norm")]
        if model_type != "glm_moe_dsa":
            matrix = (hidden, shape.vocabulary)
            draft += [Tensor("nextn.embed_tokens", matrix, "mlp"), Tensor("nextn.shared_head_head", matrix, "mlp")]
    blueprint = assemble(
        facts,
        shape,
        architecture=ARCHITECTURES[model_type],
        model_type=model_type,
        blocks=blocks,
        experts=Experts(count, active, width, shared) if count else None,
        latent=Latent(kv_rank, rope, heads * (nope + rope), heads * value),
        value_dim=value,
        draft=draft,
    )
    if not index_heads:
        return blueprint
    note = f"the sparse-attention indexer's own cache, about {index_dim} values a token in {sum(indexed)} layers"
    return blueprint._replace(unknown=(note,))
