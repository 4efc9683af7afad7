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

from gpudoctor.checking import Finding, check, skipped, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit


@check(gatekeeper_of="container_toolkit")
def no_gpu_path(container_toolkit: ContainerToolkit | Unavailable) -> Iterator[Finding]:
    """Keep the gate."""
    if isinstance(container_toolkit, Unavailable):
        said = skipped if container_toolkit.harmless else unknown
        yield said("host", "nothing of container toolkit to judge: {reason}", reason=container_toolkit.reason)
        return
    yield skipped("host", "not judged yet")
