"""Ollama: three ways of placing a model, by version.

Up to 0.11.10 (and until 0.12.10 for models of the llama.cpp runner) a static estimator decides; from then to 0.29
Ollama's own engine measures a really built graph; since 0.30 llama-server places the model and Ollama only chooses
between one GPU and all. Read at the release tags of github.com/ollama/ollama (llm/memory.go, llm/server.go,
llm/llama_server.go, server/sched.go, envconfig/config.go).
"""

from gpudoctor.fit.cache import cells_bytes, element_bytes, padded, state_bytes
from gpudoctor.fit.engines import llama_buffers as buffers
from gpudoctor.fit.engines import llama_cpp
from gpudoctor.fit.engines.common import CONTEXT_ERROR_BYTES, context_bytes, weights_error
from gpudoctor.fit.engines.ollama_layout import MINIMUM_BYTES, estimated_layout
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.model import Model
from gpudoctor.fit.placement import Layout, pack_on_fewest, placed, span
from gpudoctor.fit.prediction import Need, Prediction, Reason, Term, Verdict
from gpudoctor.fit.settings import GIB, MIB, Settings, Version, version_tuple

NAME = "ollama"
FORM = "gguf"
NEWEST: Version = (999,)

# Models of Ollama's own engine, by the first release whose list (`OllamaEngineRequired`) has them.
_OWN_ENGINE = (
    ((0, 6, 0), ("gemma3", "mllama")),
    ((0, 6, 6), ("mistral3",)),
    ((0, 6, 7), ("llama4",)),
    ((0, 7, 0), ("qwen25vl",)),
    ((0, 9, 3), ("gemma3n",)),
    ((0, 11, 0), ("gptoss",)),
    ((0, 12, 6), ("qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe")),
    ((0, 13, 4), ("deepseek2", "bert", "nomic-bert", "olmo3")),
    ((0, 15, 0), ("qwen3next", "glm4moelite", "lfm2")),
    ((0, 17, 0), ("nemotron_h", "nemotron_h_moe", "qwen35", "qwen35moe", "lfm2moe")),
    ((0, 20, 0), ("gemma4",)),
)
# Models for which flash attention is on unless it is switched off (`FlashAttention`).
_FLASH = (
    ((0, 11, 8), ("gptoss",)),
    ((0, 12, 4), ("gemma3", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe")),
    ((0, 14, 3), ("glm4moelite", "mistral3", "olmo3", "lfm2", "qwen3next", "bert")),
    ((0, 17, 1), ("nemotron_h", "nemotron_h_moe", "qwen35", "qwen35moe", "lfm2moe")),
    ((0, 20, 4), ("gemma4",)),
)
# Hybrids whose recurrent state Ollama's engine keeps at so many earlier points beside the present one
# (kvcache/recurrent.go at 0.17.1, model/models/qwen3next/checkpoints.go before): reserved with the cache.
_CHECKPOINTS, _CHECKPOINTS_FIRST, _CHECKPOINTS_SHARED = 24, 32, (0, 17, 1)
_DELTA = ("qwen3next", "qwen35", "qwen35moe")
_HYBRID = (*_DELTA, "nemotron_h", "nemotron_h_moe", "lfm2", "lfm2moe")
# Forced to one slot whatever OLLAMA_NUM_PARALLEL says (server/sched.go).
_ONE_SLOT = ("mllama", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "qwen3next", "lfm2", "lfm2moe",
             "nemotron_h", "nemotron_h_moe", "bert")  # fmt: skip


def version_of(settings: Settings) -> Version:
    """The version to judge by; the newest when none is given."""
    return version_tuple(settings.version) or NEWEST


def _listed(rows: tuple[tuple[Version, tuple[str, ...]], ...], architecture: str, version: Version) -> bool:
    return any(version >= since and architecture in names for since, names in rows)


def default_context(model: Model, hardware: Hardware, version: Version) -> int:
    """Tokens per request when nothing is set. Source: envconfig/config.go, server/routes.go, docs at the tags."""
    gptoss = model.architecture.replace("-", "") == "gptoss"
    if version < (0, 6, 7):
        context = 2048
    elif version < (0, 15, 5):
        context = 4096
        total = sum(gpu.total_bytes for gpu in hardware.gpus)
        if gptoss and version >= (0, 11) and (version < (0, 12) or total >= 20 * GIB):
            context = 8192
    else:
        total = sum(gpu.usable_bytes for gpu in hardware.gpus)
        context = 262144 if total >= 47 * GIB else 32768 if total >= 23 * GIB else 4096
    return min(context, model.context_maximum or context)


def flash_supported(model: Model, hardware: Hardware, version: Version) -> bool:
    """Whether Ollama turns flash attention on when asked: every GPU and the model must allow it."""
    for gpu in hardware.gpus:
        capability = gpu.compute_capability
        if gpu.vendor == "nvidia" and capability is not None and (capability < (7, 0) or capability == (7, 2)):
            return False
    if version >= (0, 11, 8) and model.architecture in ("gemma2", "grok"):
        return False
    return model.head_dim == model.value_head_dim or version >= (0, 30)


def prepare(model: Model, settings: Settings, hardware: Hardware) -> tuple[Settings, tuple[str, ...]]:
    """Fill in this version's defaults and say which."""
    version, assumed = version_of(settings), []
    context = settings.context
    if context is None:
        context = default_context(model, hardware, version)
        assumed.append(f"context {context}, this version's default")
    elif context and model.context_maximum and context > model.context_maximum:
        context = model.context_maximum
        assumed.append(f"context cut to the model's maximum, {context}")
    flash = settings.flash_attention
    if flash is None:
        flash = version >= (0, 30) or _listed(_FLASH, model.architecture.replace("-", ""), version)
        flash = flash and flash_supported(model, hardware, version)
        assumed.append(f"flash attention {'on' if flash else 'off'}, this version's default for the model")
    elif flash and not flash_supported(model, hardware, version):
        flash = False
        assumed.append("flash attention off: GPU or model does not support it")
    kv_type = (settings.kv_cache_type or "f16").lower()
    gptoss = model.architecture.replace("-", "") == "gptoss"
    if kv_type not in ("f16", "bf16") and (not flash or (gptoss and version < (0, 30))):
        assumed.append(f"KV cache f16: Ollama ignores {kv_type} here without saying so")
        kv_type = "f16"
    parallel = settings.parallel or _default_parallel(version)
    if model.architecture in _ONE_SLOT:
        parallel = 1
    if settings.parallel is None:
        assumed.append(f"parallel {parallel}")
    settings = settings._replace(
        context=context, parallel=parallel, kv_cache_type=kv_type, flash_attention=flash, batch=settings.batch or 512,
        parallel_automatic=settings.parallel is None,
    )
    if settings.ubatch is None:
        batch = _automatic_batch(model, settings, hardware) if version >= (0, 30) else settings.batch or 512
        settings = settings._replace(ubatch=batch, batch=batch)
    return settings, tuple(assumed)


def _default_parallel(version: Version) -> int:
    # 0.2 to 0.5 try four slots, 0.6 to 0.10 two, and fall back to one when the model would not fit a GPU.
    if version < (0, 2) or version >= (0, 11):
        return 1
    return 4 if version < (0, 6) else 2


def predicted_bytes(model: Model, context: int) -> int:
    """What 0.30 and newer expect before loading: the file and an f16 cache of full heads (PredictServerVRAM)."""
    head = model.hidden_size // max(model.heads, 1)
    least = min((layer.cache.heads for layer in model.layers if layer.cache.heads), default=1)
    cache = 2 * len(model.layers) * least * head * context * 2
    return (model.file_bytes or model.weights_bytes) + cache


def _automatic_batch(model: Model, settings: Settings, hardware: Hardware) -> int:
    context = (settings.context or 0) * (settings.parallel or 1)
    free = sum(gpu.free_bytes for gpu in hardware.gpus)
    nvidia = any(gpu.vendor == "nvidia" for gpu in hardware.gpus)
    if not settings.flash_attention and nvidia:
        small = any(gpu.vendor == "nvidia" and gpu.free_bytes <= 8 * GIB for gpu in hardware.gpus)
        return 256 if context > 4096 and small else 512
    predicted = predicted_bytes(model, context)
    for batch, from_context, percent, extra in ((2048, 32768, 60, 2 * GIB), (1024, 4096, 75, 768 * MIB)):
        room = free * 80 // 100 - predicted
        if context > from_context and predicted <= free * percent // 100 and extra <= room:
            return batch
    return 512


def predict(model: Model, settings: Settings, hardware: Hardware) -> Prediction:
    """Place the model as this version does."""
    version = version_of(settings)
    if not hardware.gpus:
        return llama_cpp.predict(model, settings._replace(version=None), hardware)
    if version >= (0, 30):
        return _with_llama_server(model, settings, hardware)
    own = _listed(_OWN_ENGINE, model.architecture.replace("-", ""), version)
    measured = version >= (0, 11, 11) and own
    rule = _measured if measured else _static
    answer = rule(model, settings, hardware, version, own)
    if settings.parallel_automatic and (settings.parallel or 1) > 1:
        # One GPU with one slot is tried before all GPUs with several.
        single = rule(model, settings._replace(parallel=1), hardware, version, own)
        if answer.verdict != "fits" or (single.verdict == "fits" and _used(single) == 1 < _used(answer)):
            return single
    return answer


def _used(answer: Prediction) -> int:
    return sum(1 for need in answer.gpus if need.total)


def _with_llama_server(model: Model, settings: Settings, hardware: Hardware) -> Prediction:
    context = (settings.context or 0) * (settings.parallel or 1)
    chosen = list(range(len(hardware.gpus)))
    predicted = predicted_bytes(model, context)
    if len(chosen) > 1:
        able = [i for i in chosen if predicted <= hardware.gpus[i].free_bytes * 80 // 100]
        if able:
            chosen = [max(able, key=lambda i: hardware.gpus[i].free_bytes)]
    subset = hardware._replace(gpus=tuple(hardware.gpus[i] for i in chosen))
    answer = llama_cpp.predict(model, settings._replace(version=None), subset)
    needs = [Need()] * len(hardware.gpus)
    for i, need in zip(chosen, answer.gpus, strict=True):
        needs[i] = need
    return answer._replace(gpus=tuple(needs), settings=settings)


def real_cache(model: Model, settings: Settings, version: Version, *, own: bool) -> list[int]:
    """What the runner really allocates for each layer, in bytes.

    Ollama's engine keeps the window (4096 tokens for gpt-oss) of every slot and one batch, padded to 256 with
    flash attention and 32 without (kvcache/causal.go); the llama.cpp runner follows llama.cpp, whose windowed
    cache came with the 0.9 releases.
    """
    context, parallel, batch = settings.context or 0, settings.parallel or 1, settings.batch or 512
    element = element_bytes(settings.kv_cache_type or "f16")
    if not own:
        build = buffers.WINDOW_BUILD - 1 if version < (0, 9, 3) else buffers.KEYS_ONLY_BUILD - 1
        build = buffers.LATENT_BUILD - 1 if version < (0, 7) else build
        return buffers.cache_bytes(
            model, context * parallel, 1, element, unified=True, ubatch=min(batch, 512), build=build
        )
    step = 256 if settings.flash_attention else 32
    gptoss = model.architecture.replace("-", "") == "gptoss"
    found = []
    for layer in model.layers:
        cells = padded(context * parallel, step)
        if layer.cache.window:
            memory = 4096 if gptoss else layer.cache.window
            cells = min(cells, padded(memory * parallel + batch, step))
        states = parallel * (1 + checkpoints(model, version)) * state_bytes(layer.cache, 4, 4)
        found.append(states + (0 if layer.cache.kind == "none" else cells_bytes(layer.cache, cells, element)))
    return found


def checkpoints(model: Model, version: Version) -> int:
    """How many copies of its recurrent state Ollama's own engine keeps for each slot.

    qwen3-coder-next at 32,768 tokens (0.20) has 2.6 GiB of cache, 0.75 of them keys and values.
    """
    if version < _CHECKPOINTS_SHARED:
        return _CHECKPOINTS_FIRST if model.architecture in _DELTA else 0
    return _CHECKPOINTS if model.architecture in _HYBRID else 0


def _static(model: Model, settings: Settings, hardware: Hardware, version: Version, own: bool) -> Prediction:
    layout, graph = estimated_layout(model, settings, hardware, version)
    wanted = len(layout) if settings.gpu_layers is None else min(settings.gpu_layers, len(layout))
    return _answer(model, settings, hardware, version, layout, own=own, wanted=wanted, guessed_graph=graph)


def _measured(model: Model, settings: Settings, hardware: Hardware, version: Version, own: bool) -> Prediction:
    cache = real_cache(model, settings, version, own=own)
    units = buffers.unit_bytes(model)
    units[-1] += model.encoder_bytes
    sizes = [unit + kept for unit, kept in zip(units, [*cache, 0], strict=True)]
    graph = engine_graph(model, settings)
    room = [max(gpu.free_bytes - MINIMUM_BYTES - graph, 0) for gpu in hardware.gpus]
    layout = pack_on_fewest(sizes, room, settings.gpu_layers)
    wanted = len(sizes) if settings.gpu_layers is None else min(settings.gpu_layers, len(sizes))
    return _answer(model, settings, hardware, version, layout, own=own, wanted=wanted, guessed_graph=None)


def engine_graph(model: Model, settings: Settings) -> int:
    """Graph of Ollama's own engine in bytes: logits only for the tokens asked for, so the block decides.

    Printed for qwen3:30b-a3b at 32,768 tokens 190.5 MiB (here 192), for gemma3:1b at 4096 80.0 MiB (79.5); for gpt-oss
    at 8192 Ollama's own estimate of 0.11.8 is 122 MiB (123).
    """
    context = (settings.context or 0) * (settings.parallel or 1)
    batch = min(settings.batch or 512, context)
    hidden = model.hidden_size
    if model.experts is not None:
        run = model.experts.active + model.experts.shared
        width = run * 2 * (model.experts.intermediate + hidden) + 2 * hidden
    else:
        width = 3 * model.intermediate_size + 12 * hidden
    if model.architecture in _DELTA:
        # The delta rule in chunks: 884 MiB for 1024 tokens of qwen3-coder-next, of them 192 the mask.
        width = max(width, 43 * max(layer.cache.ssm_state_values for layer in model.layers) // 128)
    # The mask as made and as flash attention wants it; without it the scores of all heads.
    scores = 6 * batch * context if settings.flash_attention else 4 * batch * (model.heads * context + context)
    return 4 * batch * width + scores + 4 * (settings.parallel or 1) * model.vocabulary


def _answer(
    model: Model,
    settings: Settings,
    hardware: Hardware,
    version: Version,
    layout: Layout,
    *,
    own: bool,
    wanted: int,
    guessed_graph: int | None,
) -> Prediction:
    cache = real_cache(model, settings, version, own=own)
    units = buffers.unit_bytes(model)
    units[-1] += model.encoder_bytes
    used = [i for i in range(len(hardware.gpus)) if i in layout]
    context, parallel, batch = settings.context or 0, settings.parallel or 1, settings.batch or 512
    whole = placed(layout) == len(layout)
    needs = []
    for i, gpu in enumerate(hardware.gpus):
        if i not in used:
            needs.append(Need())
            continue
        if own:
            compute = engine_graph(model, settings)
        else:
            compute = buffers.compute_bytes(
                model, context * parallel, batch, flash=bool(settings.flash_attention),
                holds_output=layout[-1] == i, copies=len(used) > 1 and whole, build=None,
            )  # fmt: skip
        held = [unit for unit, slot in enumerate(layout) if slot == i]
        weights = sum(units[unit] for unit in held)
        kept = sum(cache[unit] for unit in held if unit < len(cache))
        least = None
        if guessed_graph is not None:
            least = weights + kept + guessed_graph + MINIMUM_BYTES
        needs.append(Need(weights, kept, compute, context_bytes(gpu), minimum=least, layers=span(layout, i)))
    verdict: Verdict = "fits" if whole and wanted >= len(layout) else "partial"
    pairs = [(gpu, need) for gpu, need in zip(hardware.gpus, needs, strict=True) if need.total]
    left = [gpu.free_bytes - (need.total or 0) for gpu, need in pairs]
    host_cache = sum(kept for kept, slot in zip(cache, layout, strict=False) if slot is None)
    cpu_weights = sum(unit for unit, slot in zip(units, layout, strict=True) if slot is None)
    reasons: list[Reason] = []
    over = [gpu for gpu, need in pairs if (need.total or 0) - (need.overhead or 0) > gpu.free_bytes]
    if over:
        verdict = "does-not-fit"
        reasons.append(
            Reason(
                "model.too-big", "fail",
                "Ollama {version} puts more layers on GPU {gpu} than it holds and ends with cudaMalloc failed",
                {"version": settings.version or "", "gpu": over[0].number, "layers": placed(layout) // 2},
                (("Set num_gpu below {layers}, or use a newer Ollama", None),), subject=f"gpu:{over[0].number}",
            )
        )  # fmt: skip
    if not whole and guessed_graph is not None and sum(gpu.free_bytes for gpu in hardware.gpus) > sum(
        (need.total or 0) for need in needs
    ) + cpu_weights + host_cache:
        reasons.append(
            Reason(
                "model.too-big", "info",
                "Ollama {version} plans {graph_mib} MiB of graph on each GPU, more than the model needs, and so "
                "leaves layers on the CPU",
                {"version": settings.version or "", "graph_mib": guessed_graph // MIB},
                (("Set num_gpu to the number of layers, or use Ollama 0.12 or newer, which measures", None),),
            )
        )  # fmt: skip
    slack = round(weights_error(model) * sum(n.weights or 0 for n in needs)) + 96 * MIB
    slack += CONTEXT_ERROR_BYTES * len(used)
    return Prediction(
        verdict=verdict,
        gpus=tuple(needs),
        settings=settings,
        kv_bytes_per_token=sum(cache) / max(context * parallel, 1),
        kv_tokens=context * parallel,
        kv_needed_bytes=sum(cache),
        max_concurrency=float(parallel),
        host_bytes=cpu_weights + host_cache + model.embedding_bytes + model.host_bytes + 300 * MIB,
        layers_total=len(layout),
        layers_on_gpu=placed(layout),
        reasons=tuple(reasons),
        terms=_terms(needs, settings, guessed_graph),
        error=(slack, slack),
        margin_bytes=min(left) if left else None,
        cpu_weights_bytes=cpu_weights,
    )


def _terms(needs: list[Need], settings: Settings, guessed_graph: int | None) -> tuple[Term, ...]:
    terms = [
        Term("weights", sum(n.weights or 0 for n in needs), "layers and output on the GPUs; embedding on the host",
             "tensor sizes"),
        Term("KV cache", sum(n.kv_cache or 0 for n in needs),
             f"{settings.context} tokens x {settings.parallel} slots, {settings.kv_cache_type}, windowed layers less",
             "ollama kvcache/causal.go, llama.cpp src/llama-kv-cache.cpp"),
        Term("compute graphs", sum(n.compute or 0 for n in needs), f"batch {settings.batch}",
             "llama.cpp src/llama-context.cpp"),
        Term("CUDA contexts", sum(n.overhead or 0 for n in needs), "450 MiB on each GPU used", "measurements"),
    ]  # fmt: skip
    if guessed_graph is not None:
        terms.append(
            Term("Ollama's own guess of the graph", guessed_graph, "decides the layers, on each GPU", "ollama fs/ggml")
        )
    return tuple(terms)
