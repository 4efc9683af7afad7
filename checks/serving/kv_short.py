"""What the weights leave is too little for the KV cache.

## Why it matters
The engine reserves a share of the GPU, loads the weights, and keeps the rest for the KV cache. When the longest
sequence that was asked for does not fit in that rest, it refuses to start. When it starts and the cache runs full under
load, vLLM takes requests out again and computes them anew (preemption): answers get slower and slower.

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
from gpudoctor.facts.serving import Endpoint, Serving

_MORE = (
    step("Leave the cache more: a larger share of the GPU, or half its size with FP8.",
         "vllm serve MODEL --gpu-memory-utilization 0.95 --kv-cache-dtype fp8"),
    step("Or let fewer or shorter requests in at once.", "vllm serve MODEL --max-num-seqs 16 --max-model-len 8192"),
    step("See what fits.", "gpudoctor fit MODEL --engine vllm --max-parallel"),
)


@check()
def kv_short(serving: Serving, policy: Policy) -> Iterator[Finding]:
    """Judge what engines say of their KV cache."""
    telling = [each for each in serving.answering
               if each.preemptions is not None or each.kv_usage is not None]
    if not telling:
        yield skipped("host", "no engine here tells how full its KV cache is")
    for each in telling:
        yield _judge(each, policy["kv_usage_warn"])


def _judge(each: Endpoint, full: float) -> Finding:
    context = next((model.context for model in each.loaded if model.context), None)
    seen = _seen(each)
    if each.preemptions:
        return warned(each.subject, "{engine} has put back {count} requests since its start because its KV cache was "
                      "full", engine=each.engine, count=each.preemptions, evidence=seen, fix=_MORE)  # fmt: skip
    if each.kv_usage is not None and each.kv_usage >= full:
        return warned(each.subject, "the KV cache of {engine} is {usage:.0%} full", engine=each.engine,
                      usage=each.kv_usage, evidence=seen, fix=_MORE)
    if each.kv_tokens and context:
        return passed(each.subject, "the KV cache holds {tokens} tokens: {times:.1f} requests of full length",
                      tokens=each.kv_tokens, times=each.kv_tokens / context, evidence=seen)
    return passed(each.subject, "the KV cache has room, and no request was put back", evidence=seen)


def _seen(each: Endpoint) -> tuple[Evidence, ...]:
    where = f"{each.url}/metrics"
    return (saw("KV cache in use", None if each.kv_usage is None else f"{each.kv_usage:.1%}", where),
            saw("KV cache tokens", each.kv_tokens, where), saw("requests put back", each.preemptions, where),
            saw("running", each.running, where))
