"""An engine computes on the CPU, wholly or in part.

## Why it matters
It answers, but ten to fifty times slower. `offloaded 0/37 layers to GPU` means that no GPU was found or usable:
container without GPU, driver too old for the engine, library missing. `20/81` means that the model did not fit.

## How to fix
Find out which: see whether the engine names a GPU at its start, then whether the model fits.

## References
- https://docs.ollama.com/troubleshooting
- https://docs.ollama.com/faq
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def offload_partial(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "serving.offload-partial")
