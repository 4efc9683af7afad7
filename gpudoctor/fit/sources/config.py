"""A config.json to a blueprint: which rule describes which model_type.

A model_type that no rule describes gives None, never a guess: its bytes must then come from real tensors.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources.facts import Facts
from gpudoctor.fit.sources.tensors import Blueprint

_LARGEST = 1 << 50
_NESTED = ("text_config", "llm_config", "language_config", "thinker_config")
_RENAMED = {
    "solar": "llama", "yi": "llama", "aquila": "llama", "mistral3_text": "mistral", "gemma3": "gemma3_text",
    "qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text", "qwen3_vl": "qwen3_vl_text",
    "qwen3_vl_moe": "qwen3_vl_moe_text", "llama4": "llama4_text", "mllama": "mllama_text_model",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text", "deci": "nemotron-nas", "nemotron_nas": "nemotron-nas",
    "exaone4_5": "exaone4", "internlm": "llama", "xverse": "llama",
}  # fmt: skip

Rule = Callable[[Facts, str], Blueprint]


def rule_for(model_type: str) -> Rule | None:
    """The rule that describes this model_type, imported only when it is the one asked for."""
    from gpudoctor.fit.sources import dense

    if model_type in dense.STYLES:
        return dense.dense
    from gpudoctor.fit.sources import moe

    if model_type in moe.ARCHITECTURES:
        return moe.routed
    from gpudoctor.fit.sources import latent

    if model_type in latent.ARCHITECTURES:
        return latent.latent
    if model_type == "gemma4_text":
        from gpudoctor.fit.sources.gemma4 import gemma4

        return gemma4
    if model_type == "mllama_text_model":
        from gpudoctor.fit.sources.mllama import mllama

        return mllama
    from gpudoctor.fit.sources import delta, encoders, hybrid, special

    if model_type in delta.ARCHITECTURES:
        return delta.delta
    if model_type in hybrid.ARCHITECTURES:
        return hybrid.hybrid
    if model_type in encoders.ARCHITECTURES:
        return encoders.encoder
    return special.special if model_type in special.RULES else None


def text_part(config: Mapping[str, Any], where: str | None = None) -> tuple[Facts, str]:
    """The part of a configuration that describes the language model, and its model_type."""
    outer = Facts(config, where)
    for key in _NESTED:
        inner = outer.within(key)
        if inner is not None:
            if inner.config.get("num_hidden_layers") is None and inner.within("text_config") is not None:
                return text_part(inner.config, where)
            merged = {"torch_dtype": config.get("torch_dtype") or config.get("dtype"), **inner.config}
            for name in ("tie_word_embeddings", "vocab_size"):
                if name not in merged and name in config:
                    merged[name] = config[name]
            kind = str(merged.get("model_type") or outer.text("model_type"))
            return Facts(merged, where), _RENAMED.get(kind, kind)
    kind = outer.text("model_type")
    return outer, _RENAMED.get(kind, kind)


def blueprint_of(config: Mapping[str, Any], where: str | None = None) -> Blueprint | None:
    """The blueprint that a configuration describes, None when its architecture is not known.

    Raises `Unusable` when a known architecture lacks a number or has an impossible one.
    """
    facts, model_type = text_part(config, where)
    rule = rule_for(model_type)
    if rule is None:
        return None
    blueprint = _sound(rule(facts, model_type), facts)
    if "vision_config" in config or "audio_config" in config:
        from gpudoctor.fit.sources.towers import towers_of

        towers, unknown = towers_of(Facts(config, where), blueprint.hidden_size)
        blueprint = blueprint._replace(encoders=towers, unknown=(*blueprint.unknown, *unknown))
    stored = quantization_of(config)
    if stored:
        from gpudoctor.fit.sources.exceptions import listed

        section = _section(config) or {}
        blueprint = blueprint._replace(quantization=stored, kept=listed(section), group=_group(section))
    return blueprint


def _sound(blueprint: Blueprint, facts: Facts) -> Blueprint:
    """Refuse numbers that are each possible but together give a matrix without rows or beyond any memory."""
    kinds = {id(block): block for block in blueprint.blocks}.values()
    outside = (*blueprint.embedding, *blueprint.output, *blueprint.final, *blueprint.host, *blueprint.draft)
    for tensor in (*(t for block in kinds for t in block.tensors), *outside):
        if not 0 < tensor.elements < _LARGEST:
            raise Unusable(
                f"the configuration gives {tensor.role} an impossible shape {tensor.shape}", where=facts.where
            )
    if any(not 0 <= count < _LARGEST for _, count in blueprint.encoders):
        raise Unusable("the configuration gives a tower an impossible size", where=facts.where)
    return blueprint


def _section(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a configuration says of its quantization."""
    section = config.get("quantization_config") or config.get("compression_config")
    if section is None:
        inner: Mapping[str, Any] = next((config[key] for key in _NESTED if isinstance(config.get(key), dict)), {})
        section = inner.get("quantization_config")
    return section if isinstance(section, Mapping) else None


def quantization_of(config: Mapping[str, Any]) -> str | None:
    """Canonical name of the quantization that a configuration declares, None when it declares none.

    Raises nothing: a scheme that is not known gives its own name as written.
    """
    section = _section(config)
    if section is None:
        return None
    facts = Facts(section)
    method = facts.text("quant_method").lower()
    bits = section.get("bits") or section.get("w_bit")
    if method == "gptq":
        return "GPTQ-Int8" if bits == 8 else "GPTQ-Int4"
    if method == "awq":
        return "AWQ"
    if method in ("fp8", "fbgemm_fp8"):
        return "FP8"
    if method == "mxfp4":
        return "MXFP4"
    if method == "bitsandbytes" or section.get("load_in_4bit"):
        return "NF4" if section.get("load_in_4bit") else "INT8"
    if method in ("compressed-tensors", "modelopt"):
        return _compressed(section)
    return method.upper() or None


def _group(section: Mapping[str, Any]) -> int | None:
    """How many inputs share a scale, None when the configuration does not say."""
    sizes = [section.get("group_size"), section.get("q_group_size")]
    groups = section.get("config_groups")
    for group in list(groups.values())[:1] if isinstance(groups, Mapping) else []:
        weights = group.get("weights") if isinstance(group, Mapping) else None
        sizes.append(weights.get("group_size") if isinstance(weights, Mapping) else None)
    size = next((size for size in sizes if type(size) is int and -1 <= size <= 1 << 16), None)
    return None if size is None else max(size, 0)


def _compressed(section: Mapping[str, Any]) -> str | None:
    if "FP4" in str(section.get("quant_algo", "")):
        return "NVFP4"
    groups = section.get("config_groups")
    group = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = group.get("weights") if isinstance(group, Mapping) else None
    if not isinstance(weights, Mapping):
        return "FP8" if "FP8" in str(section.get("quant_algo", "")) else None
    kind, bits = weights.get("type"), weights.get("num_bits")
    if kind == "float":
        return "FP8" if bits == 8 else "NVFP4"
    activations = group.get("input_activations") if isinstance(group, Mapping) else None
    return "W4A16" if bits == 4 else "W8A8" if activations or bits == 8 else None
