"""The toolkit was installed or configured after Docker's daemon started.

## Why it matters
The daemon looks for the toolkit, and reads daemon.json, only when it starts. Until then everything is in place and
nothing works.

## How to fix
Restart the daemon.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def restart_pending(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "docker.restart-pending")
