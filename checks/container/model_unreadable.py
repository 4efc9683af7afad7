"""The engine's user may not read the model's files.

## Why it matters
A folder mounted into a container keeps its owner and mode. Files that root fetched cannot be read by an image that
runs as another user, and the engine ends with "Permission denied" on a shard or config.json.

## How to fix
Make the files readable for that user, or run the container as their owner.

## References
- https://docs.docker.com/engine/storage/bind-mounts/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def model_unreadable(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "container.model-unreadable")
