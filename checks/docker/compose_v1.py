"""Compose is too old to reserve GPUs.

## Why it matters
Compose v1 ended in 2023; it knows neither `gpus` nor all of the device reservations, and refuses the file.

## How to fix
Install the plug-in and call it as `docker compose`.

## References
- https://docs.docker.com/compose/install/linux/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def compose_v1(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "docker.compose-v1")
