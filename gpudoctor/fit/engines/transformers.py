"""Hugging Face transformers: weights where accelerate puts them, a cache that grows, and the prefill's peak.

Peak = weights + 0.05 GiB + the larger of cache and prefill after the prompt, and the whole cache at the end. Within
0.8 % of the memory that Qwen publishes for three model sizes, four quantizations and prompts up to 30,720 tokens.
"""

import math

from gpudoctor.fit.cache import element_bytes, state_bytes, token_bytes
from gpudoctor.fit.engines.common import CONTEXT_ERROR_BYTES, context_bytes, weights_error
from gpudoctor.fit.engines.sharding import forward_bytes
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.model import Model
from gpudoctor.fit.placement import Layout, fill_in_order, placed, span
from gpudoctor.fit.prediction import Need, Prediction, Term, Verdict
from gpudoctor.fit.settings import GIB, MIB, Settings, version_tuple

NAME = "transformers"
FORM = "safetensors"
#: Workspace of cuBLAS and small buffers that stay allocated.
FIXED_BYTES = round(0.05 * GIB)
#: Prompts from which AWQ and GPTQ kernels unpack a whole matrix to 16 bit before multiplying.
DEQUANTIZED_FROM = 1024
#: The first version that keeps the checkpoint's dtype when none is given; older ones load float32.
AUTO_DTYPE = (5, 0)


def loads_float32(settings: Settings, model: Model) -> bool:
    """Whether this version converts the checkpoint to float32 because no dtype was named."""
    version = version_tuple(settings.version)
    plain = model.quantization in ("BF16", "F16")
    return plain and settings.dtype is None and settings.quant is None and version is not None and version < AUTO_DTYPE


def prepare(model: Model, settings: Settings, hardware: Hardware) -> tuple[Settings, tuple[str, ...]]:
    """Fill in the defaults: the model's maximum as context, all of it as prompt."""
    assumed = []
    context = settings.context
    if context is None:
        context = min(model.context_maximum or 4096, 8192)
        assumed.append(f"context {context}")
    prompt = settings.prompt_tokens
    if prompt is None:
        prompt = context
        assumed.append("the whole context is prompt")
    return (
        settings._replace(
            context=context,
            parallel=settings.parallel or 1,
            prompt_tokens=min(prompt, context) if context else prompt,
            kv_cache_type=settings.kv_cache_type or "auto",
        ),
        tuple(assumed),
    )


def predict(model: Model, settings: Settings, hardware: Hardware) -> Prediction:
    """Place whole blocks as ``device_map="auto"`` does and add cache and prefill on every GPU that runs blocks."""
    scale = 2.0 if loads_float32(settings, model) else 1.0
    kind = settings.kv_cache_type or "auto"
    wide = scale == 2.0 or settings.dtype in ("f32", "fp32", "float32")
    element = (4.0 if wide else 2.0) if kind == "auto" else element_bytes(kind)
    context, parallel = settings.context or 0, settings.parallel or 1
    prompt = min(settings.prompt_tokens or context, context) if context else settings.prompt_tokens or 0
    activation = forward_bytes(model, prompt * parallel, 1, 4 if wide else 2)
    if prompt * parallel >= DEQUANTIZED_FROM and model.quantization.startswith(("AWQ", "GPTQ")):
        activation += 2 * model.intermediate_size * model.hidden_size
    cached = [_cached(layer.cache.window, context) for layer in model.layers]
    before = [_cached(layer.cache.window, prompt) for layer in model.layers]
    per_token = [token_bytes(layer.cache, element) for layer in model.layers]
    if model.latent is not None:
        # The reference implementation caches expanded keys and values of every head.
        latent = model.latent
        per_token = [(latent.key_values_expanded + latent.value_values_expanded) * element] * len(per_token)
    states = [parallel * state_bytes(layer.cache, element, 4) for layer in model.layers]
    final = [math.ceil(size * n) * parallel + state for size, n, state in zip(per_token, cached, states, strict=True)]
    early = [math.ceil(size * n) * parallel + state for size, n, state in zip(per_token, before, states, strict=True)]

    first = model.embedding_bytes + model.encoder_bytes + model.host_bytes
    last = model.output_bytes + model.final_bytes + _untied_bytes(model)
    blocks = [round(layer.weights.total * scale) for layer in model.layers]
    sizes = [round(first * scale), *blocks, round(last * scale)]
    layout = _device_map(sizes, [gpu.free_bytes - context_bytes(gpu) for gpu in hardware.gpus])
    needs: list[Need] = []
    left: list[int] = []
    for i, gpu in enumerate(hardware.gpus):
        held = [unit for unit, slot in enumerate(layout) if slot == i]
        if not held:
            needs.append(Need())
            continue
        blocks_held = [unit - 1 for unit in held if 0 < unit <= len(blocks)]
        weights = sum(sizes[unit] for unit in held)
        kept = sum(final[block] for block in blocks_held)
        # The prefill ends before the cache is full: what counts is the later of the two peaks.
        after_prompt = activation - (kept - sum(early[block] for block in blocks_held))
        compute = max(after_prompt, 0) + FIXED_BYTES if blocks_held else FIXED_BYTES
        compute = max(compute, _loading_bytes(model) - kept)
        needs.append(Need(weights, kept, compute, context_bytes(gpu), layers=span(layout[1:], i)))
        left.append(gpu.free_bytes - (needs[-1].total or 0))
    verdict: Verdict = "fits"
    if placed(layout) < len(layout):
        # device_map="auto" would spill to the CPU; plain loading ends out of memory, and that is what people meet.
        verdict = "partial" if placed(layout) and settings.allow_partial else "does-not-fit"
    elif left and min(left) < 0:
        verdict = "does-not-fit"
    weights = sum(need.weights or 0 for need in needs)
    slack = round(weights_error(model) * weights) + activation // 30 + 64 * MIB
    return Prediction(
        verdict=verdict if hardware.gpus else "unknown",
        gpus=tuple(needs),
        settings=settings,
        kv_bytes_per_token=sum(per_token),
        kv_tokens=context * parallel,
        kv_needed_bytes=sum(final),
        max_concurrency=float(parallel),
        host_bytes=max(sizes) + 2 * GIB + sum(size for size, slot in zip(sizes, layout, strict=True) if slot is None),
        terms=(
            Term("weights", weights, "tensor sizes" + (", converted to float32" if scale == 2 else ""), "tensor sizes"),
            Term("KV cache", sum(final), f"{context} tokens x layers x KV heads x head size", "cache_utils.py"),
            Term("prefill", activation, f"{prompt} tokens x 2 B x (3 x width + 3 x hidden)", "Qwen's benchmark"),
            Term("fixed", FIXED_BYTES, "0.05 GiB on each GPU", "Qwen's benchmark"),
        ),
        error=(slack, slack + CONTEXT_ERROR_BYTES),
        margin_bytes=min(left) if left else None,
        cpu_weights_bytes=sum(size for size, slot in zip(sizes, layout, strict=True) if slot is None),
    )


def _untied_bytes(model: Model) -> int:
    """The output matrix that an FP8 checkpoint of a tied model holds a second time and transformers loads.

    Qwen's benchmark shows it for Qwen3 0.6B, 1.7B and 4B in FP8, and neither for AWQ nor for GPTQ.
    """
    return model.embedding_bytes if model.quantization == "FP8" and model.tied_embeddings else 0


def _loading_bytes(model: Model) -> int:
    """What loading holds beside the weights: AutoAWQ fills the output matrix of a tied model before it is tied.

    The peak of a one-token prompt for Qwen2.5 0.5B, 1.5B and 3B in AWQ; GPTQ shows none.
    """
    return model.embedding_bytes if model.quantization == "AWQ" and model.tied_embeddings else 0


def _cached(window: int, tokens: int) -> int:
    return min(window, tokens) if window else tokens


def _device_map(sizes: list[int], room: list[int]) -> Layout:
    """Accelerate's balanced map: equal shares with the last GPU taking the rest, then as much as fits."""
    total = sum(sizes)
    if len(room) > 1:
        share = total // len(room) + max(sizes[1:-1], default=0)
        found = fill_in_order(sizes, [*(min(share, free) for free in room[:-1]), room[-1]])
        if found is not None:
            return found
    found = fill_in_order(sizes, room)
    if found is not None:
        return found
    layout: Layout = []
    gpu, left = 0, room[0] if room else 0
    for size in sizes:
        while gpu < len(room) and size > left:
            gpu += 1
            left = room[gpu] if gpu < len(room) else 0
        layout.append(gpu if gpu < len(room) else None)
        left -= size
    return layout
