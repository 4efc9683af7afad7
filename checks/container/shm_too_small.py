"""The container's /dev/shm is too small.

## Why it matters
Docker gives a container 64 MiB of shared memory. NCCL and the workers of a tensor-parallel engine exchange data
through it and stop with "No space left on device", a failed segment, or a bus error that tells nothing.

## How to fix
Share the host's memory (`ipc: host`), or set shm_size; in Kubernetes mount an emptyDir of medium Memory on /dev/shm.

## References
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
- https://github.com/NVIDIA/nccl/issues/342
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def shm_too_small(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "container.shm-too-small")
