"""Text encoders for embeddings and reranking: they look at a whole text at once and remember nothing."""

from gpudoctor.fit.model import Cache
from gpudoctor.fit.sources.common import assemble, norms, shape_of
from gpudoctor.fit.sources.facts import Facts
from gpudoctor.fit.sources.parts import attention, feed_forward, linear, vector
from gpudoctor.fit.sources.tensors import Block, Blueprint, Tensor

ARCHITECTURES = {
    "bert": "bert", "roberta": "bert", "xlm-roberta": "bert", "camembert": "bert", "nomic_bert": "nomic-bert",
}  # fmt: skip
"""GGUF's name of every architecture here, by model_type."""


def encoder(facts: Facts, model_type: str) -> Blueprint:
    """The blueprint of a text encoder: learned positions and biases, or rotary and none (Nomic)."""
    nomic = model_type == "nomic_bert"
    shape = shape_of(facts, tied=True)._replace(tied=True)
    hidden, width = shape.hidden, shape.intermediate
    tensors = [
        *attention(
            hidden, shape.heads, shape.heads, shape.head_dim, bias=not nomic, output_bias=not nomic, fused=nomic
        ),
        *feed_forward(hidden, width, gate=nomic, bias=not nomic),
        *norms(hidden, 2, bias=True),
    ]
    block = Block(tuple(tensors), Cache("none"))
    final = [vector("token_embd_norm", hidden), vector("token_embd_norm.bias", hidden)]
    if not nomic:
        final += linear("pooler", hidden, hidden, "replicated", bias=True)
    blueprint = assemble(
        facts,
        shape,
        architecture=ARCHITECTURES[model_type],
        model_type=model_type,
        blocks=[block] * shape.layers,
        final=final,
    )
    tables = [Tensor("token_types", (hidden, facts.number("type_vocab_size", default=2)), "replicated")]
    if not nomic:
        tables.append(Tensor("position_embd", (hidden, facts.number("max_position_embeddings")), "replicated"))
    return blueprint._replace(embedding=(*blueprint.embedding, *tables))
