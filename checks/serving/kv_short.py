"""What the weights leave is too little for the KV cache.

## Why it matters
The engine reserves a share of the GPU, loads the weights, and keeps the rest for the KV cache. When the longest
sequence that was asked for does not fit in that rest, it refuses to start. When it starts and the cache runs full under
load, vLLM takes requests out again and computes them anew (preemption): answers get slower and slower.

A cache much smaller than `gpudoctor fit` finds for the same settings was cut when the engine started, most often by
another process that held memory then.

## How to fix
Shorten the longest sequence to what fits (the finding says how much), raise the share, store the cache in FP8, or let
fewer requests in at once.

## References
- https://docs.vllm.ai/en/latest/configuration/conserving_memory/
- https://docs.vllm.ai/en/latest/configuration/optimization/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, passed, saw, skipped, step, warned
from gpudoctor.checking.finding import Evidence
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Memory
from gpudoctor.facts.serving import Endpoint, Serving
from gpudoctor.judging.served import Machine, held, predicted, settings_of, working

_MORE = (
    step("Leave the cache more: a larger share of the GPU, or half its size with FP8.",
         "vllm serve MODEL --gpu-memory-utilization 0.95 --kv-cache-dtype fp8"),
    step("Or let fewer or shorter requests in at once.", "vllm serve MODEL --max-num-seqs 16 --max-model-len 8192"),
    step("See what fits.", "gpudoctor fit MODEL --engine vllm --max-parallel"),
)


@check()
def kv_short(
    serving: Serving, gpus: Gpus | Unavailable, memory: Memory | Unavailable, driver: Driver | Unavailable,
    containers: Containers | Unavailable, policy: Policy,
) -> Iterator[Finding]:  # fmt: skip
    """Judge what engines say of their KV cache, and what fit says that it should hold."""
    machine = Machine(gpus, memory, driver, containers)
    telling = [each for each in serving.answering
               if each.preemptions is not None or each.kv_usage is not None or each.kv_tokens is not None]
    if not telling:
        yield skipped("host", "no engine here tells how full its KV cache is")
    for each in telling:
        yield _judge(each, policy["kv_usage_warn"], _expected(each, machine, policy["memory_gap_share"]))


def _expected(each: Endpoint, machine: Machine, share: float) -> tuple[int, int] | None:
    """Return the tokens that fit's figure says, and the least that is no gap; None where that cannot be told."""
    if isinstance(machine.gpus, Unavailable) or len(each.loaded) != 1 or not each.kv_tokens:
        return None
    parts = working(held(each, machine.gpus))
    flags = settings_of(each, machine.containers)
    # Without what it holds itself, and the share it was started with, fit would be asked of another machine.
    if not parts or any(part.bytes_ is None for part in parts) or not flags or "config" in flags:
        return None
    answer = predicted(each, each.loaded[0], machine)
    if isinstance(answer, Unavailable) or answer.prediction.verdict != "fits":
        return None
    from gpudoctor.fit.cache import state_bytes

    if any(state_bytes(layer.cache, 2, 4) for layer in answer.question.model.layers):
        return None  # engines count the blocks of recurrent layers in ways of their own
    prediction = answer.prediction
    if not prediction.kv_tokens or not prediction.kv_bytes_per_token:
        return None
    error = max(prediction.error) * sum(1 for need in prediction.gpus if need.total) / prediction.kv_bytes_per_token
    return prediction.kv_tokens, int(prediction.kv_tokens * (1 - share) - error)


def _judge(each: Endpoint, full: float, expected: tuple[int, int] | None) -> Finding:
    context = next((model.context for model in each.loaded if model.context), None)
    seen = _seen(each)
    if each.preemptions:
        return warned(each.subject, "{engine} has put back {count} requests since its start because its KV cache was "
                      "full", engine=each.engine, count=each.preemptions, evidence=seen, fix=_MORE)  # fmt: skip
    if each.kv_usage is not None and each.kv_usage >= full:
        return warned(each.subject, "the KV cache of {engine} is {usage:.0%} full", engine=each.engine,
                      usage=each.kv_usage, evidence=seen, fix=_MORE)
    if expected is not None and each.kv_tokens and each.kv_tokens < expected[1]:
        return warned(each.subject, "the KV cache of {engine} holds {tokens} tokens; with these settings {wanted} fit "
                      "here: something else held memory when it started", engine=each.engine, tokens=each.kv_tokens,
                      wanted=expected[0], evidence=(*seen, saw("fit says tokens", expected[0], "gpudoctor fit")),
                      fix=(step("See who else is on its GPUs, and start it anew when they are free.",
                                "nvidia-smi --query-compute-apps=gpu_uuid,pid,name,used_memory --format=csv"),
                           step("Its log says how much it found.", "gpudoctor diagnose LOG")))  # fmt: skip
    if each.kv_tokens and context:
        return passed(each.subject, "the KV cache holds {tokens} tokens: {times:.1f} requests of full length",
                      tokens=each.kv_tokens, times=each.kv_tokens / context, evidence=seen)
    return passed(each.subject, "the KV cache has room, and no request was put back", evidence=seen)


def _seen(each: Endpoint) -> tuple[Evidence, ...]:
    where = f"{each.url}/metrics"
    return (saw("KV cache in use", None if each.kv_usage is None else f"{each.kv_usage:.1%}", where),
            saw("KV cache tokens", each.kv_tokens, where), saw("requests put back", each.preemptions, where),
            saw("running", each.running, where))
