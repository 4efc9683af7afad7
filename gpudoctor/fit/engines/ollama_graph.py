"""Ollama's own guess of graph and cache sizes before a model is loaded, per architecture and version.

Up to 0.12.10 every layer count that Ollama prints for models of the llama.cpp runner comes from these guesses, and
up to 0.11.10 for all models. They are guesses: often too high, never checked. Source: ollama fs/ggml/ggml.go
(llm/ggml.go before 0.6), `GraphSize` and `VisionGraphSize`, read at the release tags named here.
"""

from typing import NamedTuple

from gpudoctor.fit.model import Cache, Model
from gpudoctor.fit.settings import MIB, Version

_GUESSED_ELEMENT = {"q8_0": 1.0, "q4_0": 0.5}


class Guess(NamedTuple):
    """Bytes: cache of each layer, graph when part of the model is on the GPU, graph when all is."""

    cache: list[int]
    partial: int
    full: int


def guess(
    model: Model, context: int, parallel: int, batch: int, kv_type: str, *, flash: bool, version: Version
) -> Guess:
    """Return what this version of Ollama believes. `context` is per request, `batch` the physical batch."""
    ctx, b = context * parallel, min(batch, context * parallel)
    element = _GUESSED_ELEMENT.get(kv_type, 2.0) if version >= (0, 5) else 2.0
    cache = [_layer_cache(layer.cache, model, ctx, element) for layer in model.layers]
    total = sum(cache)
    h, v, heads, kvh = model.hidden_size, model.vocabulary, model.heads, max(model.kv_heads, 1)
    k, per_head = model.head_dim, h // max(model.heads, 1)
    if model.latent is not None:
        # The published files of these models list every head: the latent cache came later.
        kvh, k = heads, model.latent.key_values_expanded // max(heads, 1)
    architecture = model.architecture.replace("-", "")
    partial = full = 0
    if architecture in ("llama", "llama4"):
        full = 4 * b * (1 + 4 * h + ctx * (1 + heads))
        if version >= (0, 3, 10):
            full = max(full, 4 * b * (h + v))
        partial = 4 * b * h + max(
            4 * b * (1 + h + max(ctx, h)) + h * h * 9 // 16 + 4 * ctx * (b * heads + per_head * kvh),
            4 * b * (h + v) + h * v * 105 // 128,
        )
        if model.experts is not None and model.layers and model.layers[0].routed:
            width = model.experts.intermediate
            gate = model.layers[0].weights.experts // 3
            partial = max(
                3 * gate + 4 * b * (2 * width + kvh + h + ctx + per_head * kvh),
                4 * (ctx * b * heads + ctx * per_head * kvh + b * 1024 + per_head * kvh * b),
            )
    elif architecture in ("gemma", "gemma2", "gemma3", "gemma3n"):
        full = max(4 * b * (h + v), 4 * b * (2 + ctx + ctx * heads + 2 * h + 2 * k * heads))
        partial = max(
            4 * h * b + h * v * 105 // 128 + 4 * v * b,
            4 * b * (2 * h + 1 + 2 * k * heads + ctx + ctx * heads) + 4 * k * ctx * 8 + h * k * heads * 9 // 16,
        )
        if architecture == "gemma3n":
            full, partial = 4 * full, 4 * partial
        if architecture == "gemma3":
            window = max(layer.cache.window for layer in model.layers)
            cells = parallel * window + b
            cache = [
                round(cells * (layer.cache.key_values + layer.cache.value_values) * element) if (i + 1) % 6 else cached
                for i, (layer, cached) in enumerate(zip(model.layers, cache, strict=True))
            ]
    elif architecture == "commandr":
        full = max(4 * b * (h + v), 4 * b * (2 + 4 * h + ctx * (1 + heads)))
        partial = max(
            4 * b * (h + v) + h * v * 105 // 128,
            4 * b * (1 + 2 * h + ctx * (1 + heads)) + 4 * h * ctx + h * h * 9 // 16,
        )
    elif architecture == "qwen2":
        full = max(4 * b * (h + v), 4 * b * (1 + 2 * h + ctx + ctx * heads))
        partial = max(
            4 * b * (h + v) + h * v * 105 // 128, 4 * (b * (1 + 2 * h + ctx * (1 + heads)) + h * (1 + ctx))
        )
    elif architecture == "phi2":
        full = max(4 * b * (h + v), 4 * b * (1 + 4 * h + ctx + ctx * heads))
        partial = max(4 * b * (2 * h + v) + h * v * 105 // 128, 4 * b * (2 + 3 * h + ctx + ctx * heads))
    elif architecture == "stablelm":
        full = 4 * b * (ctx * (1 + heads) + 3 * h + 2)
        partial = max(4 * b * (v + 2 * h), full)
    elif architecture == "deepseek2":
        full = max(4 * b * (3 * h + v), 4 * b * (3 * h + 2 + ctx * (1 + kvh) + 2 * k * kvh))
        partial = max(
            4 * b * (3 * h + v) + h * v * 105 // 128,
            4 * b * (2 * h + 1 + 2 * k * kvh + ctx + ctx * kvh) + 4 * k * ctx * kvh + h * k * kvh * 9 // 16,
        )
    elif architecture == "chatglm":
        full = max(4 * b * (h + v), 4 * b * (2 + 2 * h + ctx + ctx * heads + k * heads))
        partial = max(
            4 * b * (h + v) + h * v * 105 // 128, 4 * b * (1 + 2 * h + k * heads + ctx + ctx * heads) + 8 * k * ctx
        )
    elif architecture == "gptoss":
        partial, full = _gptoss(model, total, parallel, ctx, flash=flash, version=version)
        cells = parallel * 4096 + b
        cache = [
            round((layer.cache.key_values + layer.cache.value_values) * element) * (ctx if i % 2 else cells)
            for i, layer in enumerate(model.layers)
        ]
    if partial == 0:
        partial = heads // kvh * total // 6
    return Guess(cache, partial, full or partial)


def _gptoss(
    model: Model, total: int, parallel: int, context: int, *, flash: bool, version: Version
) -> tuple[int, int]:
    ratio = model.heads // max(model.kv_heads, 1)
    if version < (0, 11, 3):
        full = 4 * ratio * total // 6
        return 2 * full, full
    if version < (0, 11, 5):
        full = 4 * ratio * total // 6
        return full, full
    if flash and version >= (0, 11, 8):
        return (4 * parallel + (context >> 10) + 110) * MIB, 0
    return 2 * ratio * total // 6, 0


def _layer_cache(cache: Cache, model: Model, context: int, element: float) -> int:
    if cache.kind == "none":
        return (cache.conv_state_values + cache.ssm_state_values) * 4
    if cache.kind == "latent" and model.latent is not None:
        values = model.latent.key_values_expanded + model.latent.value_values_expanded
    else:
        values = cache.key_values + cache.value_values
    return int(context * values * element)


def vision_graph(model: Model) -> int:
    """Bytes that Ollama sets aside for the vision tower's graph; 0 for text models and towers it does not size."""
    total = 0
    for encoder in model.encoders:
        if encoder.kind != "vision" or encoder.separate_file or not encoder.positions:
            continue
        if model.architecture in ("gemma3", "mistral3") and encoder.heads:
            patches = encoder.positions
            patch = 14
            pixels = patches * patch * patch
            total += 4 * (pixels * 3 + (encoder.hidden_size or 0) * patch + patches * patches * encoder.heads)
    return total
