"""Put a quantization to a blueprint: every tensor's bytes, summed as `Model` wants them."""

from collections.abc import Callable, Iterable
from typing import Literal, cast

from gpudoctor.fit.model import Cache, Encoder, Form, Layer, Model, Parts
from gpudoctor.fit.sources.gguf_mix import BASE, Traits, gguf_bytes, tensor_type
from gpudoctor.fit.sources.quantization import (
    FLOATS,
    FP8_BLOCK,
    SCHEMES,
    Scheme,
    in_gguf,
    in_safetensors,
    safetensors_bytes,
)
from gpudoctor.fit.sources.tensors import Block, Blueprint, Tensor

_DTYPES = {"bf16": "BF16", "f16": "F16", "f32": "F32"}
_IMPORTANCE = frozenset(["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS"])
_NO_WINDOW = frozenset({"phi3", "llama", "qwen2", "starcoder2", "phimoe"})
"""Architectures whose sliding windows llama.cpp does not make use of: it caches every token."""
_SEVENTY = frozenset({"llama", "qwen2", "deepseek"})


def traits_of(blueprint: Blueprint, mix: str, *, layout: str = "") -> Traits:
    """What llama.cpp's mixes ask of this model."""
    return Traits(
        layers=len(blueprint.blocks),
        heads_per_kv_head=blueprint.heads // max(1, blueprint.kv_heads),
        experts=blueprint.experts.total if blueprint.experts else 0,
        tied=not blueprint.output,
        seventy_billion=len(blueprint.blocks) == 80 and blueprint.architecture in _SEVENTY,
        importance_matrix=mix in _IMPORTANCE,
        ollama=blueprint.architecture if layout == "ollama" else layout,
        native_experts=blueprint.quantization == "MXFP4",
    )


def scheme_of(blueprint: Blueprint, quantization: str) -> Scheme | None:
    """The safetensors scheme of this name, in the publisher's own layout where that differs."""
    if quantization == "FP8" and blueprint.quantization == "FP8":
        return FP8_BLOCK
    scheme = SCHEMES.get(quantization)
    if scheme and scheme.group and blueprint.group is not None and quantization == blueprint.quantization:
        return scheme._replace(group=blueprint.group)
    return scheme


def sized(
    blueprint: Blueprint, form: Form, quantization: str, dtype: str, *, layout: str = ""
) -> Callable[[Tensor, int], int]:
    """A function from a tensor and its layer to bytes; raises ValueError when the form has no such thing."""
    if form == "gguf":
        if not in_gguf(quantization):
            raise ValueError(quantization)
        traits = traits_of(blueprint, quantization, layout=layout)
        return lambda tensor, layer: gguf_bytes(quantization, tensor, layer, traits)
    if not in_safetensors(quantization):
        raise ValueError(quantization)
    scheme = scheme_of(blueprint, quantization)
    width = FLOATS[quantization] if quantization in FLOATS else FLOATS[_DTYPES[dtype]]
    names = kept_names(blueprint, quantization)
    if not names:
        return lambda tensor, _: safetensors_bytes(tensor, scheme, width)
    from gpudoctor.fit.sources.exceptions import kept_by

    kept = kept_by(names)
    return lambda tensor, layer: safetensors_bytes(tensor, None if kept(tensor, layer) else scheme, width)


def kept_names(blueprint: Blueprint, quantization: str) -> tuple[str, ...]:
    """Modules that stay at 16 bit: what the publisher lists, and latent attention in NVFP4.

    NVIDIA's ModelOpt excludes ``self_attn`` of DeepSeek (hf_quant_config.json of nvidia/DeepSeek-R1-0528-NVFP4).
    """
    if quantization == blueprint.quantization:
        return blueprint.kept
    return ("self_attn",) if quantization == "NVFP4" and blueprint.latent is not None else ()


def parts_of(tensors: Iterable[tuple[Tensor, int]]) -> Parts:
    """Sum tensors and their bytes by part."""
    sums: dict[str, int] = {}
    for tensor, size in tensors:
        sums[tensor.part] = sums.get(tensor.part, 0) + size
    return Parts(**sums)


def _whole(cache: Cache) -> Cache:
    return cache._replace(kind="full", window=0) if cache.kind == "sliding" else cache


def _layers(
    blocks: tuple[Block, ...], size: Callable[[Tensor, int], int], cache: Callable[[Cache], Cache]
) -> tuple[Layer, ...]:
    known: dict[tuple[int, tuple[int, ...]], Layer] = {}
    layers = []
    for index, block in enumerate(blocks):
        sizes = tuple([size(tensor, index) for tensor in block.tensors])
        key = (id(block), sizes)
        if key not in known:
            parts = parts_of(zip(block.tensors, sizes, strict=True))
            known[key] = Layer(parts, cache(block.cache), block.routed)
        layers.append(known[key])
    return tuple(layers)


def _type_name(blueprint: Blueprint, form: Form, quantization: str, dtype: str, which: str, layout: str) -> str:
    if form == "gguf":
        traits = traits_of(blueprint, quantization, layout=layout)
        pool = {"embedding": blueprint.embedding, "output": blueprint.output or blueprint.embedding}
        routed = [t for b in blueprint.blocks if b.routed for t in b.tensors if t.role == "ffn_up_exps"][:1]
        tensors = pool.get(which, tuple(routed))
        return tensor_type(quantization, tensors[0], 0, traits) if tensors else BASE[quantization]
    if which == "expert" and quantization in SCHEMES:
        return quantization
    return quantization if quantization in FLOATS else _DTYPES[dtype]


def build(
    blueprint: Blueprint,
    *,
    name: str,
    source: str,
    form: Form,
    quantization: str,
    dtype: str | None = None,
    layout: str = "",
    together: bool = False,
    file_bytes: int | None = None,
    files: tuple[str, ...] = (),
    origin: str | None = None,
    local: bool = False,
    warnings: tuple[str, ...] = (),
    assumed: tuple[str, ...] = (),
) -> Model:
    """The model at this quantization.

    `dtype` overrides the type of unquantized tensors; `layout` names a deviation from llama.cpp's mixes:
    ``ollama`` (its own quantizer, which keeps prediction layers) or ``qat`` (Google's, with a 16-bit embedding).
    `together` says that a GGUF file holds its towers, as Ollama's do. Raises ValueError when a file of this
    form cannot have the quantization.
    """
    kept = dtype or (quantization.lower() if quantization in FLOATS else blueprint.dtype)
    if dtype and quantization in FLOATS and form == "safetensors":
        quantization = _DTYPES[dtype]
    size = sized(blueprint, form, quantization, kept, layout=layout)

    def total(tensors: Iterable[Tensor]) -> int:
        return sum(size(tensor, 0) for tensor in tensors)

    width = 2 if form == "gguf" else FLOATS[_DTYPES[kept]]
    encoders = tuple(
        encoder._replace(weights_bytes=count * width, parameters=count, separate_file=form == "gguf" and not together)
        for encoder, count in blueprint.encoders
    )
    return Model(
        name=name,
        architecture=blueprint.architecture,
        source=source,
        form=form,
        quantization=quantization,
        dtype=cast(Literal["bf16", "f16", "f32"], kept),
        parameters=blueprint.parameters,
        active_parameters=blueprint.active_parameters,
        layers=_layers(
            blueprint.blocks,
            size,
            _whole if form == "gguf" and blueprint.architecture in _NO_WINDOW else lambda cache: cache,
        ),
        embedding_bytes=total(blueprint.embedding),
        output_bytes=total(blueprint.output),
        tied_embeddings=not blueprint.output,
        final_bytes=total(blueprint.final),
        file_bytes=file_bytes,
        vocabulary=blueprint.vocabulary,
        hidden_size=blueprint.hidden_size,
        heads=blueprint.heads,
        kv_heads=blueprint.kv_heads,
        head_dim=blueprint.head_dim,
        value_head_dim=blueprint.value_head_dim,
        intermediate_size=blueprint.intermediate_size,
        context_maximum=blueprint.context_maximum,
        experts=blueprint.experts,
        latent=blueprint.latent,
        encoders=_encoders(encoders),
        encoder_decoder=blueprint.encoder_decoder,
        host_bytes=total(blueprint.host),
        draft_bytes=total(blueprint.draft) if form == "safetensors" or layout == "ollama" else 0,
        embedding_type=_type_name(blueprint, form, quantization, kept, "embedding", layout),
        output_type=_type_name(blueprint, form, quantization, kept, "output", layout),
        expert_type=_type_name(blueprint, form, quantization, kept, "expert", layout) if blueprint.experts else None,
        files=files,
        origin=origin,
        local=local,
        warnings=warnings,
        unknown=blueprint.unknown,
        assumed=assumed,
    )


def _encoders(encoders: tuple[Encoder, ...]) -> tuple[Encoder, ...]:
    return tuple(encoder for encoder in encoders if encoder.weights_bytes)
