"""What the weights leave is too little for the KV cache.

## Why it matters
The engine reserves a share of the GPU, loads the weights, and keeps the rest for the KV cache. When the longest
sequence that was asked for does not fit in that rest, it refuses to start.

## How to fix
Shorten the longest sequence to what fits (the finding says how much), raise the share, or store the cache in FP8.

## References
- https://docs.vllm.ai/en/latest/configuration/conserving_memory/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def kv_short(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "serving.kv-short")
