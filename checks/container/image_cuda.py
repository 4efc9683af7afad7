"""The image asks for a newer CUDA than the host's driver has.

## Why it matters
Images on NVIDIA's CUDA base carry a requirement such as `cuda>=12.8`, and the container toolkit refuses to start them
on an older driver. Within one CUDA major the programs inside would mostly run all the same: the requirement is the
base image's, not the engine's.

## How to fix
Update the driver on the host; or take an image of the engine on an older CUDA, or its wheel.

## References
- https://github.com/vllm-project/vllm/issues/5635
- https://docs.nvidia.com/deploy/cuda-compatibility/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def image_cuda(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "container.image-cuda")
