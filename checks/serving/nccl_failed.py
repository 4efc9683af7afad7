"""NCCL could not set up the exchange between GPUs.

## Why it matters
Several GPUs serve one model only together. NCCL's error codes are symptoms; the first WARN line of its own log names
the cause: shared memory, network interface, two processes on one GPU.

## How to fix
Run again with NCCL_DEBUG=INFO and read, or paste, the first WARN.

## References
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def nccl_failed(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "serving.nccl-failed")
