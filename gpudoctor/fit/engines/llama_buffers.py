"""Buffers of llama.cpp, which Ollama shares: weights per unit, cache cells, compute buffers."""

import math

from gpudoctor.fit.cache import cells_bytes, padded, state_bytes
from gpudoctor.fit.model import Cache, Layer, Model

#: First build with a latent cache for MLA models (PR 12801) and first without its unused V half (PR 19067).
LATENT_BUILD = 5133
KEYS_ONLY_BUILD = 7830
#: First build with a cache of its own for sliding-window layers (PR 13194).
WINDOW_BUILD = 5427


def unit_bytes(model: Model, *, cpu_moe: int = 0) -> list[int]:
    """Weights of every layer and of the output, in bytes: what a GPU holds when the unit lies on it.

    The experts of the first `cpu_moe` layers stay on the CPU (``--n-cpu-moe``). A tied output is a second copy of the
    embedding, which itself stays on the host.
    """
    layers = [
        layer.weights.dense if number < cpu_moe else layer.weights.total for number, layer in enumerate(model.layers)
    ]
    return [*layers, output_bytes(model)]


def output_bytes(model: Model) -> int:
    """The output matrix with the final norm, in bytes."""
    return (model.embedding_bytes if model.tied_embeddings else model.output_bytes) + model.final_bytes


def cell_element(cache: Cache, model: Model, build: int | None) -> Cache:
    """The cache as this build keeps it: MLA was expanded to all heads first, then kept an unused V half."""
    if cache.kind != "latent" or model.latent is None or build is None or build >= KEYS_ONLY_BUILD:
        return cache
    latent = model.latent
    if build < LATENT_BUILD:
        return cache._replace(key_values=latent.key_values_expanded, value_values=latent.value_values_expanded)
    return cache._replace(value_values=latent.kv_lora_rank)


def cache_cells(cache: Cache, context: int, parallel: int, *, unified: bool, ubatch: int, build: int | None) -> int:
    """Cells of one layer over all sequences.

    Windowed layers keep the window and one micro-batch, padded to 256, for each sequence or, in a unified cache,
    together. Source: llama.cpp src/llama-kv-cache-iswa.cpp; gpt-oss:120b at 2 x 131072 reproduced to the MiB.
    """
    per_stream = padded(context * parallel if unified else context, 256)
    if cache.window and (build is None or build >= WINDOW_BUILD):
        window = cache.window * (parallel if unified else 1) + ubatch
        per_stream = min(per_stream, padded(window, 256))
    return per_stream if unified else per_stream * parallel


def cache_bytes(
    model: Model,
    context: int,
    parallel: int,
    element: float,
    *,
    unified: bool,
    ubatch: int,
    build: int | None,
) -> list[int]:
    """Cache of every layer in bytes; recurrent states are F32, one for each sequence."""
    known: dict[Cache, int] = {}
    found: list[int] = []
    for layer in model.layers:
        cache = layer.cache
        if cache not in known:
            kept = cell_element(cache, model, build)
            cells = cache_cells(cache, context, parallel, unified=unified, ubatch=ubatch, build=build)
            grows = 0 if kept.kind == "none" else cells_bytes(kept, cells, element)
            known[cache] = grows + parallel * state_bytes(cache, 4, 4)
        found.append(known[cache])
    return found


def working_width(layer: Layer, model: Model) -> int:
    """Elements per token that the feed-forward block of a layer holds at its peak."""
    if layer.routed and model.experts is not None:
        experts = model.experts
        run = experts.active + experts.shared
        return 2 * run * experts.intermediate + (5 + 2 * run) * model.hidden_size
    return 2 * model.intermediate_size + 5 * model.hidden_size


def compute_bytes(
    model: Model, context: int, ubatch: int, *, flash: bool, holds_output: bool, copies: bool, build: int | None
) -> int:
    """The compute buffer of one GPU, in bytes.

    The logits of a whole micro-batch decide where the output lies; without flash attention the scores of all heads
    over the context decide everywhere. Exact for 258.5, 312.75, 633.5 and 2502 MiB of published logs. `copies`
    adds the three further copies of the inputs that pipeline parallelism over GPUs keeps, and the activations
    handed over (1216 MiB for a 70B at 8192 tokens on two GPUs: 1104 and 112).
    """
    hidden, tokens = model.hidden_size, ubatch
    # Graphs of 2024 reused the residual before the output; later ones keep it beside the normed state.
    kept = 1 if build is not None and build < 4000 else 2
    output = 4 * tokens * (model.vocabulary + kept * hidden) if holds_output else 0
    scores = 0 if flash else 4 * tokens * (model.heads * context + context + 4 * hidden)
    # The mask is kept in f16 by current builds, and as f32 beside it by those before the windowed cache.
    mask = (2 if build is None or build >= WINDOW_BUILD else 6) * tokens * context if flash else 0
    layer = max((working_width(layer, model) for layer in _kinds(model)), default=2 * hidden)
    block = 4 * tokens * (layer + 2 * hidden) + mask
    handed = 4 * tokens * (4 * hidden + 3 * context) if copies else 0
    return math.ceil(max(output, scores, block) + handed)


def _kinds(model: Model) -> set[Layer]:
    return set(model.layers)
