"""SGLang: a static share for weights and cache, the rest for activations and CUDA graphs.

Sources: sglang srt/server_args.py (mem_fraction_static), srt/model_executor/model_runner.py
(profile_max_num_token). Activations are not profiled: what the static share leaves is meant for them.
"""

import math

from gpudoctor.fit.cache import element_bytes, state_bytes
from gpudoctor.fit.engines import sharding, vllm
from gpudoctor.fit.engines.common import CONTEXT_ERROR_BYTES, context_bytes, weights_error
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.model import Model
from gpudoctor.fit.prediction import Need, Prediction, Reason, Term, Verdict
from gpudoctor.fit.settings import GIB, MIB, Settings, version_tuple

NAME = "sglang"
FORM = "safetensors"
#: The first version whose static share follows from the memory that prefill and CUDA graphs are thought to need
#: (sgl-project/sglang#10975).
RESERVING = (0, 5, 3)
#: Below these GiB: tokens of a prefill, largest captured batch alone and from four ranks on.
_TIERS = ((20, 2048, 8, 8), (35, 2048, 24, 80), (60, 4096, 32, 160), (160, 8192, 256, 512))
_LARGEST = (16384, 512, 512)


def prepare(model: Model, settings: Settings, hardware: Hardware) -> tuple[Settings, tuple[str, ...]]:
    """Fill in the server's defaults: the static share, the prefill's tokens, the largest batch of a CUDA graph."""
    filled, assumed = vllm.prepare(model, settings._replace(version=None), hardware)
    ranks = filled.tensor_parallel or 1
    memory = min((gpu.total_bytes for gpu in hardware.gpus), default=0)
    reserving = _reserving(settings)
    if reserving:
        tier = next((tier[1:] for tier in _TIERS if memory < tier[0] * GIB), _LARGEST)
        chunk, batch = tier[0], tier[2 if ranks >= 4 else 1]
    else:
        chunk, batch = (2048, 8) if memory < 25 * GIB else (8192, 160)
    chunk, batch = settings.max_num_batched_tokens or chunk, settings.max_num_seqs or batch
    share = settings.gpu_memory_utilization
    if share is None:
        share = 0.79 if ranks >= 16 else 0.81 if ranks >= 8 else 0.85 if ranks >= 4 else 0.87 if ranks == 2 else 0.88
        if reserving and memory:
            reserved = 512 + max(chunk, 2048) * 1.5 + 2 * batch + 128 * ranks * (filled.pipeline_parallel or 1)
            reserved = max(reserved, 10240) if memory > 60 * GIB else reserved
            share = min(max(round(1 - reserved * MIB / memory, 3), 0.1), 0.99)
        assumed = (*(a for a in assumed if "utilization" not in a), f"static memory fraction {share}")
    return (
        filled._replace(
            version=settings.version,
            gpu_memory_utilization=share,
            max_num_batched_tokens=chunk,
            max_num_seqs=batch,
        ),
        assumed,
    )


def _reserving(settings: Settings) -> bool:
    return (version_tuple(settings.version) or vllm.NEWEST) >= RESERVING


def _graph_bytes(layers: int, settings: Settings) -> int:
    """CUDA graphs: 0.60 GiB for 36 layers and 52 batch sizes up to 512 (Qwen3-8B, 0.5.10); more before 0.5.3."""
    if settings.enforce_eager:
        return 0
    batch = settings.max_num_seqs or 160
    if not _reserving(settings):
        return round(layers * batch / 8 * 1e6)
    sizes = 4 + min(batch, 256) // 8 + max(batch - 256, 0) // 16
    return round(layers * sizes * 0.34e6)


def predict(model: Model, settings: Settings, hardware: Hardware) -> Prediction:
    """Divide the static share of every rank into weights and cache."""
    ranks, pipeline = settings.tensor_parallel or 1, settings.pipeline_parallel or 1
    world = ranks * pipeline
    context, parallel = settings.context or 0, settings.parallel or 1
    counts = sharding.stages(len(model.layers), pipeline)
    ranges = sharding.layer_ranges(counts)
    weights = vllm.loaded_weights(model, hardware, settings, vllm.NEWEST)
    activation = sharding.forward_bytes(model, settings.max_num_batched_tokens or 8192, ranks)
    kind = settings.kv_cache_type or "auto"
    element = 2.0 if kind == "auto" else element_bytes(kind)
    graphs = _graph_bytes(len(model.layers), settings)
    share = settings.gpu_memory_utilization or 0.88
    needs: list[Need] = []
    rooms: list[int] = []
    lefts: list[int] = []
    per_token = 0.0
    for rank, gpu in enumerate(hardware.gpus[:world]):
        stage = rank // ranks
        layers = model.layers[ranges[stage][0] : ranges[stage][1] + 1]
        each = sum(sharding.rank_token_bytes(layer.cache, model, ranks, element) for layer in layers)
        per_token += each
        states = parallel * sum(state_bytes(layer.cache, 2, 4) for layer in layers)
        other = vllm.other_bytes(settings)
        free = min(gpu.free_bytes, gpu.usable_bytes - context_bytes(gpu)) - other
        # rest = free now - free at start x (1 - share): the part outside the share stays free for activations.
        room = free - weights[stage] - math.floor(free * (1 - share))
        need = math.ceil(each * context) * parallel + states
        overhead = other + context_bytes(gpu) + graphs
        least = weights[stage] + need + activation + overhead
        needs.append(
            Need(weights[stage], max(room, 0), activation, overhead, minimum=least, layers=ranges[stage])
        )  # fmt: skip
        rooms.append(room)
        lefts.append(min(room - need, gpu.free_bytes - least))
    needs += [Need()] * (len(hardware.gpus) - len(needs))
    verdict: Verdict = "unknown" if not rooms else "fits" if min(lefts) >= 0 else "does-not-fit"
    tokens = min((int(room // (per_token / len(rooms))) for room in rooms if room > 0 and per_token), default=0)
    reasons: tuple[Reason, ...] = ()
    if verdict == "does-not-fit":
        reasons = (
            Reason(
                "model.too-big", "fail",
                "the static share holds {tokens} tokens, {wanted} are asked for",
                {"tokens": tokens, "wanted": context * parallel},
                (("Lower --context-length, or use more GPUs", None),),
            ),
        )  # fmt: skip
    slack = round(weights_error(model) * max(weights)) + activation // 5 + 400 * MIB
    return Prediction(
        verdict=verdict,
        gpus=tuple(needs),
        settings=settings,
        kv_bytes_per_token=per_token,
        kv_tokens=tokens,
        kv_needed_bytes=math.ceil(per_token * context) * parallel,
        max_concurrency=tokens / context if context else None,
        host_bytes=round(1.3e9 + 2.8e9 * world),
        reasons=reasons,
        terms=(
            Term("weights of a rank", weights[0], f"divided by {ranks}", "tensor sizes"),
            Term("static share", None, f"free memory x {share}", "sglang srt/server_args.py"),
            Term("activations", activation, f"{settings.max_num_batched_tokens} tokens at once", "forward pass"),
        ),
        error=(slack, slack + CONTEXT_ERROR_BYTES),
        margin_bytes=min(lefts) if lefts else None,
    )
