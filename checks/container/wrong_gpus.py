"""A container asks for a GPU that the host does not have.

## Why it matters
Indices and identifiers change when a card is moved, replaced or divided. The container toolkit refuses a name that it
does not know.

## How to fix
Take the names from `nvidia-smi -L`; identifiers (GPU-...) outlive a change of order.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def wrong_gpus(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "container.wrong-gpus")
