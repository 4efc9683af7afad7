"""The way to the GPUs that a service asks for is the one that is missing.

## Why it matters
`runtime: nvidia` works only where that runtime is registered with the daemon, and `--gpus` needs no runtime. Either
alone is enough; a service that asks for the missing one does not start.

## How to fix
Register the runtime, or ask with `--gpus` or deploy.resources.reservations.devices.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def gpu_path_missing(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "docker.gpu-path-missing")
