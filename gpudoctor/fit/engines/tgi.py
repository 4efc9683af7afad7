"""TGI (maintenance mode): weights, then a warm-up prefill, then everything left becomes KV blocks.

Source: text-generation-inference, server/text_generation_server/models/flash_causal_lm.py (warmup). It fails in the
warm-up prefill, seldom by weights (issues 832, 1374, 2744).
"""

import math

from gpudoctor.fit.engines import sharding, vllm
from gpudoctor.fit.engines.common import CONTEXT_ERROR_BYTES, context_bytes, weights_error
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.model import Model
from gpudoctor.fit.prediction import Need, Prediction, Reason, Term, Verdict
from gpudoctor.fit.settings import MIB, Settings

NAME = "tgi"
FORM = "safetensors"


def prepare(model: Model, settings: Settings, hardware: Hardware) -> tuple[Settings, tuple[str, ...]]:
    """Fill in the launcher's defaults: the warm-up prefills one whole context, 4096 tokens when none is given."""
    context = settings.context or min(model.context_maximum or 4096, 4096)
    filled, assumed = vllm.prepare(model, settings._replace(version="0.5.0", context=context), hardware)
    if settings.context is None:
        assumed = (*assumed, f"context {context}")
    share = settings.gpu_memory_utilization or 1.0
    return (
        filled._replace(
            version=settings.version,
            gpu_memory_utilization=share,
            max_num_batched_tokens=settings.max_num_batched_tokens or max(context, 4096),
        ),
        tuple(a for a in assumed if "utilization" not in a),
    )


def predict(model: Model, settings: Settings, hardware: Hardware) -> Prediction:
    """Compare weights, warm-up prefill and the blocks of one context with the free memory."""
    ranks = settings.tensor_parallel or 1
    context, parallel = settings.context or 0, settings.parallel or 1
    weights = sharding.rank_weights(model, ranks)[0]
    activation = sharding.forward_bytes(model, settings.max_num_batched_tokens or 4096, ranks)
    activation += 4 * model.vocabulary * 4
    element = vllm.cache_element(model, settings)
    each = sum(sharding.rank_token_bytes(layer.cache, model, ranks, element) for layer in model.layers)
    needs: list[Need] = []
    lefts: list[int] = []
    rooms: list[int] = []
    for gpu in hardware.gpus[:ranks]:
        other = vllm.other_bytes(settings)
        # cuda_memory_fraction x 0.95: TGI keeps a twentieth of the card free.
        kept = gpu.usable_bytes * (1 - (settings.gpu_memory_utilization or 1.0) * 0.95)
        room = math.floor(gpu.free_bytes - kept - weights - activation - other - context_bytes(gpu))
        need = math.ceil(each * context * parallel)
        overhead = other + context_bytes(gpu)
        needs.append(
            Need(weights, max(room, 0), activation, overhead, minimum=weights + activation + need + overhead)
        )
        rooms.append(room)
        lefts.append(room - need)
    needs += [Need()] * (len(hardware.gpus) - len(needs))
    verdict: Verdict = "unknown" if not lefts else "fits" if min(lefts) >= 0 else "does-not-fit"
    reasons: tuple[Reason, ...] = ()
    if verdict == "does-not-fit":
        reasons = (
            Reason(
                "model.too-big", "fail",
                "the warm-up prefill of {tokens} tokens and one context leave {left_mib} MiB",
                {"tokens": settings.max_num_batched_tokens, "left_mib": min(lefts) // MIB},
                (("Lower --max-batch-prefill-tokens and --max-total-tokens, or use more GPUs", None),),
            ),
        )  # fmt: skip
    slack = round(weights_error(model) * weights) + activation // 4 + 500 * MIB
    tokens = min((int(room // each) for room in rooms if room > 0 and each), default=0)
    return Prediction(
        verdict=verdict,
        gpus=tuple(needs),
        settings=settings,
        kv_bytes_per_token=each * ranks,
        kv_tokens=tokens,
        kv_needed_bytes=math.ceil(each * context * parallel) * ranks,
        max_concurrency=tokens / context if context else None,
        host_bytes=round(2e9 + 2.8e9 * ranks),
        reasons=reasons,
        terms=(
            Term("weights of a rank", weights, f"divided by {ranks}", "tensor sizes"),
            Term("warm-up prefill", activation, f"{settings.max_num_batched_tokens} tokens", "TGI warmup"),
        ),
        error=(slack, slack + CONTEXT_ERROR_BYTES),
        margin_bytes=min(lefts) if lefts else None,
    )
