"""A model whose architecture no rule describes: real tensor bytes, the cache from its configuration, no guess."""

from typing import Any

from gpudoctor.fit.model import Cache, Encoder, Layer, Model, Parts
from gpudoctor.fit.sources.common import context_of, dtype_of
from gpudoctor.fit.sources.config import text_part
from gpudoctor.fit.sources.inventory import applied
from gpudoctor.fit.sources.layouts import attention_kinds, caches, window_of
from gpudoctor.fit.sources.safetensors_model import Folder, inventory_of


def from_tensors(config: dict[str, Any], folder: Folder, name: str, source: str, quantization: str | None) -> Model:
    """The model in a folder of an unknown architecture."""
    facts, model_type = text_part(config, folder.files[0] if folder.files else name)
    layers = facts.layers("num_hidden_layers", "num_layers", "n_layer", "n_layers")
    hidden = facts.maybe("hidden_size", "n_embd", "d_model", "dim") or 0
    heads = facts.maybe("num_attention_heads", "n_head", "num_heads", "n_heads") or 0
    kv_heads = facts.maybe("num_key_value_heads", "n_kv_heads") or heads
    head_dim = facts.maybe("head_dim") or (hidden // heads if heads else 0)
    unknown = [f"the architecture {model_type[:60]!r}: compute buffers and how its tensors divide"]
    if not kv_heads or not head_dim:
        unknown.append("the cache: the configuration gives no heads")
    kinds = attention_kinds(facts, model_type, layers)
    memory = caches(kinds, window_of(facts), kv_heads, head_dim, head_dim)
    dtype = dtype_of(facts)
    model = Model(
        name=name,
        architecture=model_type,
        source=source,
        form="safetensors",
        quantization=quantization or {"f16": "F16", "f32": "F32"}.get(dtype, "BF16"),
        dtype="f16" if dtype == "f16" else "f32" if dtype == "f32" else "bf16",
        parameters=None,
        active_parameters=None,
        layers=tuple(Layer(Parts(), memory.get(kind, Cache("none"))) for kind in kinds),
        embedding_bytes=0,
        output_bytes=0,
        tied_embeddings=False,
        final_bytes=0,
        file_bytes=folder.file_bytes or folder.total_bytes,
        vocabulary=facts.maybe("vocab_size") or 0,
        hidden_size=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_head_dim=head_dim,
        intermediate_size=facts.maybe("intermediate_size", "ffn_dim", "n_inner") or 0,
        context_maximum=context_of(facts),
        encoders=(Encoder("vision", 0),),
        files=folder.files,
        local=folder.complete and not folder.warnings,
        warnings=folder.warnings,
    )
    if folder.complete:
        counted = sum(entry.elements for entry in folder.entries) if quantization is None else None
        model = applied(model, inventory_of(folder, model))
        return model._replace(parameters=counted, unknown=tuple(unknown))
    total = folder.total_bytes or sum(entry.size for entry in folder.entries)
    each = total // layers
    unknown.append("how the bytes divide into layers: only their sum is known")
    rest = total - each * layers
    even = tuple(layer._replace(weights=Parts(mlp=each)) for layer in model.layers)
    return model._replace(layers=even, final_bytes=rest, encoders=(), unknown=tuple(unknown))
