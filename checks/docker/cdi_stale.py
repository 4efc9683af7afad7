"""The CDI specification is missing, unreadable, or does not list the GPU that was asked for.

## Why it matters
With CDI the engine injects what a specification on disk lists. After a driver upgrade, a changed MIG layout or a card
in another slot it lists what is no longer there; without one every name is "unresolvable".

## How to fix
Write it anew, or let nvidia-cdi-refresh do so.

## References
- https://docs.docker.com/build/building/cdi/
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/cdi-support.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def cdi_stale(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "docker.cdi-stale")
