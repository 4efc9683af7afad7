"""vLLM: a share of each GPU, of which weights, profiled activations and run-time memory leave the KV cache.

Sources: vLLM worker/gpu_worker.py, v1/core/kv_cache_utils.py, engine/arg_utils.py of the versions named; published
start-up logs. Activation and KV formulas reproduce seven H100 rows of llm-d's planner within 0.03 GiB.
"""

import math

from gpudoctor.fit.cache import element_bytes, state_bytes
from gpudoctor.fit.engines import sharding
from gpudoctor.fit.engines.common import CONTEXT_ERROR_BYTES, context_bytes, weights_error
from gpudoctor.fit.engines.vllm_pages import Groups, group_layers, needed_bytes, tokens_that_fit
from gpudoctor.fit.hardware import Gpu, Hardware
from gpudoctor.fit.model import Model, Unusable
from gpudoctor.fit.prediction import Need, Prediction, Reason, Term, Verdict
from gpudoctor.fit.settings import GIB, MIB, Settings, Version, version_tuple

NAME = "vllm"
FORM = "safetensors"
NEWEST: Version = (999,)

#: First versions with: the V1 engine, a latent cache for MLA, CUDA graphs inside the share, a default share of 0.92.
V1 = (0, 8)
LATENT = (0, 7, 1)
GRAPHS_INSIDE = (0, 21)
#: Since V1's memory snapshot the whole share must be free at the start; before, what stays allocated must find room
#: (Qwen2.5-32B ran at 1.0 of an A100 with 0.6.3, QwenLM/Qwen3 docs/source/benchmark/speed_benchmark.rst).
START_CHECKED = (0, 9)
#: The sampler of the V2 model runner does not sort the whole vocabulary. It became the default for dense models
#: (PR 44443, July 2026) before it did for mixtures.
UNSORTED, UNSORTED_EXPERTS = (0, 25), (0, 28)


def version_of(settings: Settings) -> Version:
    """The version to judge by; the newest when none is given."""
    return version_tuple(settings.version) or NEWEST


def prepare(model: Model, settings: Settings, hardware: Hardware) -> tuple[Settings, tuple[str, ...]]:
    """Fill in the API server's defaults for this version and these GPUs, and say which."""
    version, assumed = version_of(settings), []
    count = max(len(hardware.gpus), 1)
    pipeline = settings.pipeline_parallel or 1
    ranks = settings.tensor_parallel
    if ranks is None:
        ranks = next(n for n in range(count // pipeline or 1, 0, -1) if sharding.head_problem(model, n) is None)
        if count > 1:
            assumed.append(f"tensor parallel {ranks}")
    if ranks * pipeline > count:
        raise Unusable(
            f"tensor parallel {ranks} x pipeline parallel {pipeline} needs {ranks * pipeline} GPUs, {count} are named",
            hint="Name more GPUs or lower the sizes.",
        )
    context = settings.context
    if context is None:
        context = model.context_maximum or 4096
        assumed.append(f"context {context}, the model's own maximum, the default")
    share = settings.gpu_memory_utilization
    if share is None:
        share = 0.92 if version >= GRAPHS_INSIDE else 0.9
        assumed.append(f"gpu memory utilization {share}")
    settings = settings._replace(
        context=context,
        parallel=settings.parallel or 1,
        tensor_parallel=ranks,
        pipeline_parallel=pipeline,
        gpu_memory_utilization=share,
        kv_cache_type=settings.kv_cache_type or "auto",
    )
    return _batch_defaults(settings, hardware, version), tuple(assumed)


def _batch_defaults(settings: Settings, hardware: Hardware, version: Version) -> Settings:
    """Batch sizes of the API server (engine/arg_utils.py): large GPUs profile four times as many tokens."""
    gpu = hardware.gpus[0] if hardware.gpus else None
    memory = gpu.usable_bytes if gpu else 0
    name = gpu.name if gpu else ""
    # By name in 0.8.0 to 0.8.3, by memory since, and never an A100 since 0.9 (its throughput fell, PR 17885).
    large = memory >= 70 * GIB and not ("A100" in name and version >= (0, 9))
    if version < (0, 8, 4):
        large = "H100" in name or "H200" in name
    tokens, sequences = settings.max_num_batched_tokens, settings.max_num_seqs
    context = settings.context or 2048
    if version < V1:
        if tokens is None:
            chunked = context > 32768 and version >= (0, 5, 4)
            tokens = (2048 if version >= (0, 6, 4) else 512) if chunked else max(context, 2048)
        sequences = sequences or 256
    else:
        if tokens is None:
            tokens = 16384 if memory >= 160 * GIB and version >= (0, 14) else 8192 if large else 2048
        sequences = sequences or min(1024 if large else 256, tokens)
    return settings._replace(max_num_batched_tokens=tokens, max_num_seqs=sequences)


def activation_bytes(model: Model, settings: Settings, version: Version) -> int:
    """Peak of the profiling run: the larger of forward pass and sampler, since 0.6; all of it before.

    The sampler keeps about 9.6 fp32 copies of the logits of every sequence: 38.4 B x sequences x vocabulary, fitted on
    H100 logs with 1024 sequences and confirmed on logs with 256; V0 gathered the logits of several ranks and kept 32 B
    (one log: Qwen2.5-32B on two GPUs, 0.7). Up to 0.5 the allocator's whole pool counted: the forward pass and the
    sampler together (Qwen1.5-7B-GPTQ leaves 24,320 tokens on an RTX 3090, QwenLM/Qwen3#16). Gemma 2 caps its logits
    through further copies (the 27B leaves no cache blocks at 0.7 of an L40, vllm-project/vllm#7495).
    """
    ranks = settings.tensor_parallel or 1
    tokens, sequences = settings.max_num_batched_tokens or 2048, settings.max_num_seqs or 256
    forward = sharding.forward_bytes(model, tokens, ranks)
    per_logit = _logit_bytes(model, version, ranks)
    sampler = round(per_logit * sequences * model.vocabulary) + tokens * 2 * model.hidden_size
    copies = 2 if model.architecture == "gemma2" else 1
    text = forward + copies * sampler if version < (0, 6) else max(forward, sampler)
    return max(text, _vision_bytes(model, tokens), _split_k_bytes(model, tokens, version))


def _logit_bytes(model: Model, version: Version, ranks: int) -> float:
    if version >= (UNSORTED if model.experts is None else UNSORTED_EXPERTS):
        return 16.0
    return 32.0 if version < V1 and ranks > 1 else 38.4


def _vision_bytes(model: Model, tokens: int) -> int:
    """Profiling of the vision tower: as many of the largest images as the batch of tokens takes."""
    peak = 0
    for encoder in model.encoders:
        if encoder.positions and encoder.output_tokens and encoder.hidden_size:
            images = max(1, tokens // encoder.output_tokens)
            width = 2 * (encoder.intermediate_size or 4 * encoder.hidden_size) + 4 * encoder.hidden_size
            peak = max(peak, images * encoder.positions * 2 * width)
    return peak


def _split_k_bytes(model: Model, tokens: int, version: Version) -> int:
    # Until the Marlin kernels, AWQ multiplied in eight partial sums of the whole output; Mixtral's experts were three
    # such products per layer, whose pool stayed reserved (vllm-project/vllm#2382: 21 GiB at 32,768 tokens).
    if version >= (0, 3) or model.quantization != "AWQ" or model.experts is None:
        return 0
    return 3 * 8 * tokens * model.experts.intermediate * 2


def graph_bytes(model: Model, settings: Settings, version: Version) -> int:
    """CUDA graphs of one rank: they grow with layers and captured batch sizes.

    Measured: 2.4 GiB for 60 layers and 35 sizes (0.5.4, vllm-project/vllm#7553), 2.24 GiB for 36 layers and 67 sizes
    (0.9.2); later versions share buffers: 0.73 GiB for 51 mixed and 35 decode graphs (vllm-project/vllm#39559).
    """
    if settings.enforce_eager:
        return 0
    layers = math.ceil(len(model.layers) / (settings.pipeline_parallel or 1))
    if version < (0, 10):
        sizes, per_layer = (35, 1.15e6) if version < V1 else (67, 0.97e6)
        return round(layers * sizes * per_layer)
    sequences = settings.max_num_seqs or 256
    mixed, decode = min(2 * sequences, 512), min(sequences, 256)
    sizes = 6 + min(mixed, 256) // 8 + max(mixed - 256, 0) // 16 + decode // 8
    return round(layers * sizes * 0.2e6)


def expert_scale(model: Model, hardware: Hardware, settings: Settings, version: Version) -> float:
    """How much the kernels pad MXFP4 experts (`Mxfp4MoEMethod.create_weights`).

    Hopper's Triton layout pads one side of the values to 256 (gpt-oss-120b: 64.38 GiB loaded for 60.77); Marlin, on
    Ampere, Ada and consumer Blackwell, pads hidden size to 256 and intermediate to 128; data-centre Blackwell both
    to 256.
    """
    if model.experts is None or "MXFP4" not in (model.expert_type or model.quantization):
        return 1.0
    capability = hardware.gpus[0].compute_capability if hardware.gpus else None
    ranks = settings.tensor_parallel or 1
    width, hidden = model.experts.intermediate / ranks, model.hidden_size

    def up(value: float, step: int) -> float:
        return math.ceil(value / step) * step

    if capability is not None and capability[0] == 9:
        # Values are 16/17 of the bytes; the scales beside them are padded far less.
        return (16 * up(hidden, 256) / hidden * up(width, 64) / width + 1.02) / 17
    if capability is not None and capability[0] == 10:
        return up(hidden, 256) / hidden * up(width, 256) / width
    return up(hidden, 256) / hidden * up(width, 128) / width


def loaded_weights(model: Model, hardware: Hardware, settings: Settings, version: Version) -> list[int]:
    """Weights of each pipeline stage's ranks after loading, in bytes, MLA's absorbed matrices included."""
    ranks, pipeline = settings.tensor_parallel or 1, settings.pipeline_parallel or 1
    scale = expert_scale(model, hardware, settings, version)
    weights = sharding.rank_weights(model, ranks, pipeline, scale)
    if model.latent is not None and version >= LATENT:
        latent = model.latent
        expanded = latent.key_values_expanded - model.heads * latent.rope_values + latent.value_values_expanded
        absorbed = latent.kv_lora_rank * expanded * 2 // ranks
        counts = sharding.stages(len(model.layers), pipeline)
        weights = [weight + absorbed * count for weight, count in zip(weights, counts, strict=True)]
    return weights


def other_bytes(settings: Settings) -> int:
    """Memory outside PyTorch's allocator: 0.14 GiB alone, 0.55 with NCCL (llm-d rows, H100, 0.11)."""
    parallel = (settings.tensor_parallel or 1) * (settings.pipeline_parallel or 1)
    return round((0.14 if parallel == 1 else 0.55) * GIB)


def predict(model: Model, settings: Settings, hardware: Hardware) -> Prediction:
    """Divide the share of every rank and compare the room for the cache with what the context needs."""
    version = version_of(settings)
    ranks, pipeline = settings.tensor_parallel or 1, settings.pipeline_parallel or 1
    world = ranks * pipeline
    context, parallel = settings.context or 0, settings.parallel or 1
    activation = activation_bytes(model, settings, version)
    graphs = graph_bytes(model, settings, version)
    inside = graphs if version >= GRAPHS_INSIDE else 0
    element = cache_element(model, settings)
    counts = sharding.stages(len(model.layers), pipeline)
    ranges = sharding.layer_ranges(counts)
    weights = loaded_weights(model, hardware, settings, version)
    tokens = settings.max_num_batched_tokens or 2048
    flight = tokens * (2 if version >= (0, 14) else 1)
    gpus = hardware.gpus[:world]
    needs: list[Need] = []
    groups: list[Groups] = []
    left: list[int] = []
    staged: dict[int, tuple[Groups, int]] = {}
    for rank in range(min(world, len(gpus))):
        stage, gpu = rank // ranks, gpus[rank]
        if stage not in staged:
            layers = model.layers[ranges[stage][0] : ranges[stage][1] + 1]
            grouped = group_layers(
                model, layers, ranks, element, latent=version >= LATENT, hybrid=version >= (0, 9, 2)
            )
            states = sum(state_bytes(layer.cache, 2, 4) for layer in layers)
            staged[stage] = grouped, needed_bytes(grouped, context, flight) * parallel + states * parallel
        group, need = staged[stage]
        share = math.ceil(gpu.usable_bytes * (settings.gpu_memory_utilization or 0.9))
        other = other_bytes(settings)
        room = share - weights[stage] - activation - other - inside
        outside = context_bytes(gpu) + graphs - inside
        minimum = weights[stage] + activation + other + inside + need + outside
        needs.append(
            Need(
                weights[stage], max(room, 0), activation, other + inside + outside,
                required=max(share, weights[stage]) + outside, minimum=minimum, layers=ranges[stage],
            )
        )  # fmt: skip
        groups.append(group)
        left.append(room - need)
    needs += [Need()] * (len(hardware.gpus) - len(needs))
    judged = _judge(model, settings, hardware, needs, groups, left, flight)
    return judged._replace(terms=_terms(needs, settings, version, model))


def cache_element(model: Model, settings: Settings) -> float:
    """Bytes of one cached value."""
    kind = settings.kv_cache_type or "auto"
    if kind == "auto":
        return 4.0 if model.dtype == "f32" or settings.dtype in ("f32", "fp32", "float32") else 2.0
    return element_bytes(kind)


def starts(gpu: Gpu, share: float, live: bool) -> bool:
    """The check at start: free memory, seen after the context was made, must reach the share."""
    free = gpu.free_bytes
    if live or free == gpu.usable_bytes:
        free -= context_bytes(gpu)
    return free >= math.ceil(gpu.usable_bytes * share)


def holds(gpu: Gpu, need: Need) -> bool:
    """What decides before the check at start: weights, cache and run-time memory against what is free."""
    return (need.weights or 0) + (need.kv_cache or 0) + (need.overhead or 0) <= gpu.free_bytes


def _judge(
    model: Model,
    settings: Settings,
    hardware: Hardware,
    needs: list[Need],
    groups: list[Groups],
    left: list[int],
    flight: int,
) -> Prediction:
    context, parallel = settings.context or 0, settings.parallel or 1
    share = settings.gpu_memory_utilization or 0.9
    reasons: list[Reason] = []
    message = None
    verdict: Verdict = "fits"
    short = [
        gpu
        for gpu, need in zip(hardware.gpus[: len(groups)], needs[: len(groups)], strict=True)
        if not (starts(gpu, share, hardware.live) if version_of(settings) >= START_CHECKED else holds(gpu, need))
    ]
    rooms = [need.kv_cache or 0 for need in needs[: len(groups)]]
    pairs = list(zip(groups, rooms, strict=True))
    fit_tokens = min((tokens_that_fit(group, room, flight) for group, room in pairs), default=0)
    if not groups:
        verdict = "unknown"
    elif short:
        verdict = "does-not-fit"
        free, wanted = short[0].free_bytes / GIB, math.ceil(short[0].usable_bytes * share) / GIB
        message = (
            f"Free memory on device ({free:.2f}/{short[0].usable_bytes / GIB:.2f} GiB) on startup is less than desired "
            f"GPU memory utilization ({share:g}, {wanted:.2f} GiB)."
        )
        reasons.append(
            Reason(
                "model.too-big", "fail",
                "vLLM wants {share_gib:.2f} GiB of GPU {gpu} at start and {free_gib:.2f} GiB are free",
                {"gpu": short[0].number, "share_gib": wanted, "free_gib": free},
                (("Stop what holds the memory, or lower --gpu-memory-utilization below {fraction:.2f}", None),),
            )
        )  # fmt: skip
        reasons[-1].params["fraction"] = math.floor(100 * short[0].free_bytes / short[0].usable_bytes) / 100
    elif min(rooms) <= 0:
        verdict = "does-not-fit"
        message = "No available memory for the cache blocks. Try increasing `gpu_memory_utilization`."
        reasons.append(
            Reason(
                "model.too-big", "fail",
                "weights, activations and run-time memory take the whole share: nothing is left for the KV cache", {},
                (("Use more GPUs or a smaller quantization, or lower --max-num-seqs", None),),
            )
        )  # fmt: skip
    elif min(left) < 0:
        verdict = "does-not-fit"
        rank = left.index(min(left))
        needed = needed_bytes(groups[rank], context, flight)
        message = (
            f"To serve at least one request with the models's max seq len ({context}), ({needed / GIB:.2f} GiB "
            f"KV cache is needed, which is larger than the available KV cache memory ({rooms[rank] / GIB:.2f} GiB). "
            f"Based on the available memory, the estimated maximum model length is {fit_tokens}."
        )
        reasons.append(
            Reason(
                "model.too-big", "fail",
                "{context} tokens x {parallel} need {needed_gib:.2f} GiB of KV cache on a GPU, {room_gib:.2f} are left",
                {"context": context, "parallel": parallel, "needed_gib": needed * parallel / GIB,
                 "room_gib": rooms[rank] / GIB, "tokens": fit_tokens},
                (("Serve at most {tokens} tokens", "--max-model-len {tokens}"),),
            )
        )  # fmt: skip
    needed_each = [needed_bytes(group, context, flight) for group in groups]
    concurrency = min((room / need for room, need in zip(rooms, needed_each, strict=True) if need), default=0.0)
    hybrid = any(len(group.counts) > 1 for group in groups)
    kv_tokens = int(concurrency * context) if hybrid else fit_tokens
    weights = sum(need.weights or 0 for need in needs)
    compute = max((need.compute or 0 for need in needs), default=0)
    slack = round(weights_error(model) * weights / max(len(groups), 1)) + compute // 20 + 300 * MIB
    world = len(groups)
    return Prediction(
        verdict=verdict,
        gpus=tuple(needs),
        settings=settings,
        kv_bytes_per_token=sum(group.token_bytes for group in groups),
        kv_tokens=kv_tokens,
        kv_needed_bytes=sum(needed_each) * parallel,
        max_concurrency=concurrency,
        host_bytes=round(1.3e9 + 2.8e9 * world),
        reasons=tuple(reasons),
        error=(slack, slack + CONTEXT_ERROR_BYTES),
        margin_bytes=min(left) if left else None,
        message=message,
    )


def _terms(needs: list[Need], settings: Settings, version: Version, model: Model) -> tuple[Term, ...]:
    used = [need for need in needs if need.total]
    if not used:
        return ()
    per_logit = f"{_logit_bytes(model, version, settings.tensor_parallel or 1):g} B"
    return (
        Term("share of each GPU", (used[0].weights or 0) + (used[0].kv_cache or 0) + (used[0].compute or 0),
             f"what CUDA can hand out x {settings.gpu_memory_utilization}", "vLLM worker/gpu_worker.py"),
        Term("weights of a rank", used[0].weights, f"divided by {settings.tensor_parallel}, small tensors whole",
             "tensor sizes"),
        Term("activation peak", used[0].compute,
             f"larger of forward pass over {settings.max_num_batched_tokens} tokens and sampler {per_logit} x "
             f"{settings.max_num_seqs} sequences x {model.vocabulary}", "published profiling logs"),
        Term("left for the KV cache", used[0].kv_cache, "share less all of these", "vLLM v1/core/kv_cache_utils.py"),
        Term("context, NCCL, CUDA graphs", used[0].overhead,
             "outside the share before 0.21" if version < GRAPHS_INSIDE else "graphs inside the share",
             "measurements"),
    )  # fmt: skip
