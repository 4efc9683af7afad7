"""SELinux, or the device files' mode, keeps containers from the GPUs.

## Why it matters
The toolkit reports "insufficient permissions" when the label of the container may not touch the device files.

## How to fix
Start the container with `--security-opt=label=disable`, or install a policy for it.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def selinux(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "docker.selinux")
