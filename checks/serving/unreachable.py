"""A server cannot be reached from where it is needed.

## Why it matters
It listens on loopback only, the container's port is not published, or a firewall or router stands between.

## How to fix
See where it listens, publish the port, open the firewall, and forward to the host's port.

## References
- https://docs.ollama.com/faq
- https://docs.docker.com/engine/network/port-publishing/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def unreachable(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "serving.unreachable")
