"""A file differs from its checksum, is cut short, or is missing.

## Why it matters
Copies to a machine without network go over disks and slow lines, and break without a word: a full disk, a pulled stick,
a file system that cannot hold more than 4 GB. A broken wheel or image is noticed at install time, where nothing can be
fetched again.

## How to fix
Copy the named files again from where they are whole; `--list-bad FILE` writes their names for rsync's `--files-from`.
If the same file is broken again, the original is: compare it there with the same command.

`gpudoctor verify` compares with what lies beside: lists of `sha256sum` and its sisters, a wheel's RECORD and CRC-32,
the digests inside a saved image or an OCI layout, the CRC-32 of gzip, and the hashes of a requirements file.

## References
- https://www.gnu.org/software/coreutils/manual/html_node/cksum-output-modes.html
- https://packaging.python.org/en/latest/specifications/binary-distribution-format/
- https://github.com/opencontainers/image-spec/blob/main/image-layout.md
- https://github.com/moby/moby/blob/v24.0.0/image/spec/v1.2.md
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, skipped
from gpudoctor.facts.files import Files
from gpudoctor.judging.compared_files import judge_compared


@check()
def broken(files: Files) -> Iterator[Finding]:
    """Judge every file that belongs to no model."""
    found = tuple(judge_compared(files, model=False))
    yield from found
    if not found:
        yield skipped("host", "nothing but models was compared")
