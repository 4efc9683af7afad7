"""Docker's daemon does not answer, or not to this user.

## Why it matters
Without the daemon no container starts. "Cannot connect" means that it is down or elsewhere; "permission denied" on
the socket means that the user is not in the group docker.

## How to fix
Start the daemon; or add the user to the group docker, which is as good as giving root.

## References
- https://docs.docker.com/engine/install/linux-postinstall/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def unreachable(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "docker.unreachable")
