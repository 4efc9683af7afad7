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

from gpudoctor.checking import Finding, check, skipped, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers


@check(gatekeeper_of="containers")
def gpu_invisible(containers: Containers | Unavailable) -> Iterator[Finding]:
    """Keep the gate."""
    if isinstance(containers, Unavailable):
        said = skipped if containers.harmless else unknown
        yield said("host", "nothing of containers to judge: {reason}", reason=containers.reason)
        return
    yield skipped("host", "not judged yet")
