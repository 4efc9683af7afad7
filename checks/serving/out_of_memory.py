"""An engine ran out of GPU memory.

## Why it matters
Weights, KV cache, activations and CUDA graphs share the GPU with whatever else runs there. The line tells how much
was asked for and how much was free: a small request that fails means that the share taken beforehand was too large, a
large one that the model does not fit.

## How to fix
Ask for less context or fewer sequences, a smaller share, another quantization, or more GPUs; `gpudoctor fit` says
what fits.

## References
- https://docs.vllm.ai/en/latest/configuration/conserving_memory/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def out_of_memory(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "serving.out-of-memory")
