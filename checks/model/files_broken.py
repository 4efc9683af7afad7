"""A file of the model is cut short or damaged.

## Why it matters
An interrupted download or copy leaves files that start well. The engine notices when it reads the header or the last
tensor, minutes later.

## How to fix
Fetch that file again and compare its checksum with the publisher's.

## References
- https://huggingface.co/docs/safetensors/metadata_parsing
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import judge_log


@check()
def files_broken(signatures: Signatures) -> Iterator[Finding]:
    """Judge the lines of pasted logs that prove it."""
    yield from judge_log(signatures, "model.files-broken")
