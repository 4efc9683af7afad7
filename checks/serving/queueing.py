"""Requests wait because the engine serves too few at once.

## Why it matters
Ollama serves a fixed number of requests at a time and queues the rest; models that do not fit together evict each
other, and every change costs a load.

## How to fix
Raise OLLAMA_NUM_PARALLEL as far as the KV caches fit, keep models loaded, or use an engine that batches continuously.

## References
- https://docs.ollama.com/faq
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def queueing(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "serving.queueing")
