"""KTransformers: routed experts in DRAM, everything else and the cache on one GPU.

Source: kvcache-ai/ktransformers, doc/en/DeepseekR1_V3_tutorial.md: about 382 GB of DRAM and 14 GB of a GPU for
DeepSeek-R1 671B in Q4_K_M. The tensors and the latent cache are exact; the run-time figures are the project's.
"""

import math

from gpudoctor.fit.cache import element_bytes, token_bytes
from gpudoctor.fit.engines.common import CONTEXT_ERROR_BYTES, context_bytes, weights_error
from gpudoctor.fit.engines.sharding import forward_bytes
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.model import Model, Unusable
from gpudoctor.fit.prediction import Need, Prediction, Reason, Term, Verdict
from gpudoctor.fit.settings import GIB, Settings

NAME = "ktransformers"
FORM = "gguf"
#: Prefill is cut into chunks of this many tokens.
CHUNK = 8192
#: Buffers of the CPU kernels, Python and pinned memory beside the experts.
HOST_EXTRA_BYTES = 6 * GIB


def prepare(model: Model, settings: Settings, hardware: Hardware) -> tuple[Settings, tuple[str, ...]]:
    """Fill in the defaults; a dense model has no experts to keep in DRAM."""
    if model.experts is None:
        raise Unusable(
            f"{model.name} has no experts: KTransformers keeps experts in host memory",
            hint="Use --engine llama.cpp with --gpu-layers for a dense model.",
        )
    assumed = []
    context = settings.context
    if context is None:
        context = min(model.context_maximum or 8192, 8192)
        assumed.append(f"context {context}")
    return (
        settings._replace(
            context=context,
            parallel=settings.parallel or 1,
            cpu_moe=True,
            kv_cache_type=settings.kv_cache_type or "bf16",
            max_num_batched_tokens=settings.max_num_batched_tokens or CHUNK,
        ),
        tuple(assumed),
    )


def predict(model: Model, settings: Settings, hardware: Hardware) -> Prediction:
    """Put dense weights and the latent cache on the first GPU and every expert in DRAM."""
    context, parallel = settings.context or 0, settings.parallel or 1
    element = element_bytes(settings.kv_cache_type or "bf16")
    dense = sum(layer.weights.dense for layer in model.layers)
    experts = sum(layer.weights.experts for layer in model.layers)
    weights = dense + model.output_bytes + model.final_bytes
    cache = math.ceil(sum(token_bytes(layer.cache, element) for layer in model.layers) * context * parallel)
    tokens = min(settings.max_num_batched_tokens or CHUNK, max(context, 1))
    width = model.heads * model.head_dim * 3
    compute = forward_bytes(model._replace(experts=None), tokens, 1) + tokens * 2 * width + 4 * 512 * model.vocabulary
    host = experts + model.embedding_bytes + HOST_EXTRA_BYTES
    needs = [Need()] * len(hardware.gpus)
    left = None
    if hardware.gpus:
        gpu = hardware.gpus[0]
        needs[0] = Need(weights, cache, compute, context_bytes(gpu), layers=(0, len(model.layers)))
        left = gpu.free_bytes - (needs[0].total or 0)
    available = hardware.host_free_bytes if hardware.host_free_bytes is not None else hardware.host_total_bytes
    reasons: list[Reason] = []
    verdict: Verdict = "partial"
    if left is None:
        verdict = "unknown"
    elif left < 0:
        verdict = "does-not-fit"
        reasons.append(
            Reason("model.too-big", "fail", "dense weights and cache need {missing_gib:.1f} GiB more of the GPU",
                   {"missing_gib": -left / GIB}, (("Lower --context", None),))
        )  # fmt: skip
    if available is not None and host > available:
        verdict = "does-not-fit"
        reasons.append(
            Reason("model.too-big", "fail", "the experts need {host_gib:.0f} GiB of DRAM and {have_gib:.0f} are there",
                   {"host_gib": host / GIB, "have_gib": available / GIB}, (("Use a smaller quantization", None),))
        )  # fmt: skip
    slack = round(weights_error(model) * weights) + compute // 3
    return Prediction(
        verdict=verdict,
        gpus=tuple(needs),
        settings=settings,
        kv_bytes_per_token=cache / max(context * parallel, 1),
        kv_tokens=context * parallel,
        kv_needed_bytes=cache,
        max_concurrency=float(parallel),
        host_bytes=host,
        layers_total=len(model.layers) + 1,
        layers_on_gpu=len(model.layers) + 1,
        reasons=tuple(reasons),
        terms=(
            Term("dense weights", weights, "attention, shared experts, norms, output", "tensor sizes"),
            Term("experts in DRAM", experts, "every routed expert", "tensor sizes"),
            Term("KV cache", cache, f"{context} tokens, {settings.kv_cache_type}", "cache of each layer"),
        ),
        error=(slack, slack + CONTEXT_ERROR_BYTES),
        margin_bytes=left,
        cpu_weights_bytes=experts,
    )
