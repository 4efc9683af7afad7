"""A file of the model is cut short, damaged or missing.

## Why it matters
An interrupted download or copy leaves files that start well. The engine notices when it reads the header or the last
tensor, minutes later; a flipped byte in the weights it never notices.

## How to fix
Copy or fetch that file again. `gpudoctor verify FOLDER` names every such file: it compares Ollama's blobs and the
Hugging Face cache with the checksums in their names, `--local-dir` downloads with those in `.cache/huggingface`, other
files with a list of `sha256sum`, headers with the file's length, and looks for every shard of a split model.

## References
- https://huggingface.co/docs/safetensors/metadata_parsing
- https://huggingface.co/docs/huggingface_hub/guides/manage-cache
- https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
- https://docs.ollama.com/faq
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, skipped
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.files import Files
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.compared_files import judge_compared
from gpudoctor.judging.log_findings import judge_log


@check()
def files_broken(signatures: Signatures | Unavailable, files: Files | Unavailable) -> Iterator[Finding]:
    """Judge files that were compared, and the lines of pasted logs that prove it."""
    if isinstance(files, Files):
        found = tuple(judge_compared(files, model=True))
        yield from found
        if not found:
            yield skipped("host", "no model is among what was compared")
    if isinstance(signatures, Signatures):
        yield from judge_log(signatures, "model.files-broken")
    elif isinstance(files, Unavailable):
        yield skipped("host", "needs signatures: {reason}", reason=signatures.reason)
