"""A file could not be compared: nothing says what it should be, or it cannot be read.

## Why it matters
A file without a checksum looks whole as long as its beginning and its length are right; one flipped byte in the weights
of a model is nobody's error message. What was not compared is not fine, and `gpudoctor verify` ends with exit code 3.

## How to fix
Let the user who verifies read the file. Where no checksum is known, make one where the file came from:
`gpudoctor verify --write-manifest FOLDER` writes `SHA256SUMS` beside the files, and `sha256sum` does the same. Copy it
along. Hugging Face keeps checksums in its cache and, for `--local-dir`, in `.cache/huggingface`: copy that folder, too.

A list that names absolute paths, or paths with `..`, is not followed there.

## References
- https://huggingface.co/docs/huggingface_hub/guides/manage-cache
- https://huggingface.co/docs/huggingface_hub/guides/download
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, noted, passed, saw, skipped, step, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.files import Files
from gpudoctor.judging.compared_files import judge_unjudged


@check(gatekeeper_of="files")
def unverifiable(files: Files | Unavailable) -> Iterator[Finding]:
    """Name what could not be compared, and count what is of no weight."""
    if isinstance(files, Unavailable):
        said = skipped if files.harmless else unknown
        yield said("host", "no files were compared: {reason}", reason=files.reason)
        return
    found = [each for file in files.files if (each := judge_unjudged(file, interrupted=files.interrupted))]
    yield from found
    compared = sum(file.outcome in ("verified", "broken", "missing") for file in files.files)
    for file in files.files:
        if file.outcome == "recorded":
            yield noted(f"file:{file.path}", "SHA256SUMS holds its checksum from now on; what it was is not known",
                        evidence=saw("sha256", file.digests.get("sha256"), "its contents"))
    if not (found or compared or files.folders or any(file.outcome == "recorded" for file in files.files)):
        yield unknown("host", "nothing was compared: no file here has a checksum",
                      fix=step("Make a list where the files came from, and copy it along.",
                               "gpudoctor verify --write-manifest FOLDER"))
    for folder, count in files.unlisted.items():
        yield noted(f"file:{folder}", "{count} small files below it have no checksum and were not compared",
                    count=count)
    if compared and not found:
        yield passed("host", "every file of weight was compared", evidence=saw("files", compared, "their checksums"))
