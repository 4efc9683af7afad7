"""A running container can no longer open its GPUs.

## Why it matters
The device rule that let the container reach `/dev/nvidia*` was added behind the engine's back. Whatever makes the
engine write its rules anew (`systemctl daemon-reload` under the systemd cgroup driver, `docker update`) takes it
away: NVML says "Unknown Error", the host goes on as if nothing were. The same words come from a container that never
got any device, so look whether the device files are there.

## How to fix
Recreate the container; a restart of the service inside is not enough. For good: hand GPUs over through CDI, name
every device with --device, or let Docker use the cgroupfs driver.

## References
- https://github.com/NVIDIA/nvidia-container-toolkit/issues/48
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def gpu_lost(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "container.gpu-lost")
