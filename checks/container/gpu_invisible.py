"""A container has no GPU at all.

## Why it matters
Nothing asked for a GPU when it was created, or a variable hides them: the engine then runs on the CPU, or not at all.
`NVIDIA_VISIBLE_DEVICES` unset or `void` means no GPU, silently.

## How to fix
Ask for the GPUs: `--gpus all`, or deploy.resources.reservations.devices in Compose.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
- https://docs.docker.com/compose/how-tos/gpu-support/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def gpu_invisible(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "container.gpu-invisible")
