"""Requests are longer than the context that the engine was started with.

## Why it matters
Engines start with a default far below what the model can do, cut what is longer, or refuse it. Cut prompts show as
answers that miss half of the question.

## How to fix
Raise the context to what model and memory hold; `gpudoctor fit` says how much that is.

## References
- https://docs.ollama.com/faq
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def context_default(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "serving.context-default")
