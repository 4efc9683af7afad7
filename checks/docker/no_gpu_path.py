"""Docker's daemon finds no way to hand GPUs to containers.

## Why it matters
`--gpus` and device reservations in Compose need the NVIDIA Container Toolkit on the daemon's PATH at the moment it
starts. "could not select device driver" says that it found neither the toolkit's hook nor CDI; it says nothing about
the driver.

## How to fix
Install the toolkit, register it, restart the daemon.

## References
- https://github.com/NVIDIA/nvidia-docker/issues/1034
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def no_gpu_path(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "docker.no-gpu-path")
