"""Docker is a snap, or runs without root, and does not see the container toolkit.

## Why it matters
A snap is confined: it finds neither the toolkit on the host nor the driver's libraries, and says "could not select
device driver" however often the toolkit is installed. Without root the toolkit may not change device rules.

## How to fix
Install Docker from Docker's own repository; without root use CDI, or no-cgroups in the toolkit's settings.

## References
- https://github.com/NVIDIA/nvidia-docker/issues/1642
- https://docs.docker.com/engine/security/rootless/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def confined(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "docker.confined")
