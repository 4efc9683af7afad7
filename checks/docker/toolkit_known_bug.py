"""The NVIDIA Container Toolkit fails before the container starts.

## Why it matters
Older releases do not know newer kernels' control groups or distributions' loader settings, and images that carry a
copy of the driver's libraries collide with the injected ones.

## How to fix
Bring the toolkit to its newest release; start from an image without driver libraries.

## References
- https://github.com/NVIDIA/nvidia-docker/issues/1711
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def toolkit_known_bug(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "docker.toolkit-known-bug")
