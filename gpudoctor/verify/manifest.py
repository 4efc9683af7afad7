"""Writing ``SHA256SUMS``, as ``sha256sum`` writes and reads it."""

import os
from collections.abc import Iterable

NAME = "SHA256SUMS"


def lines_of(folder: str, digests: Iterable[tuple[str, str]]) -> bytes:
    """Return the list of a folder: ``digests`` are (path, hex digest) of files below it."""
    rows = []
    for path, digest in digests:
        name = os.fsencode(os.path.relpath(path, folder))
        escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        rows.append((name, (b"\\" if escaped != name else b"") + digest.encode() + b"  " + escaped + b"\n"))
    return b"".join(row for _, row in sorted(rows))
