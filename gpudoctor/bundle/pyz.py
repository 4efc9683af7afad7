"""The single file ``gpudoctor.pyz``: a start, and every wheel unpacked, for one Python on one platform.

Format: https://docs.python.org/3/library/zipapp.html
"""

import hashlib
import io
import zipfile
from pathlib import Path, PurePosixPath

import msgspec

from gpudoctor.bundle import BundleError
from gpudoctor.bundle.contents import Manifest
from gpudoctor.bundle.own_wheel import put
from gpudoctor.bundle.target import Target

_MOST_BYTES = 512 << 20
_BUILD = '''"""What this file was made for."""

VERSION = {version!r}
PYTHON = {python!r}
MACHINE = {machine!r}
LIBRARY = {library!r}
NEEDS = {needs!r}
DIGEST = {digest!r}
'''


def build(wheelhouse: Path, target: Target, described: Manifest) -> bytes:
    """Return the file's bytes; equal wheels make equal bytes.

    Raises:
        BundleError: A wheel cannot be unpacked.
    """
    files: dict[str, bytes] = {}
    for wheel in described.wheels:
        if wheel.name != "pip":
            files.update(_unpacked(wheelhouse / wheel.file))
    digest = hashlib.sha256()
    packed = io.BytesIO(b"#!/usr/bin/env python3\n")
    packed.seek(0, io.SEEK_END)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            digest.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
            put(archive, f"site/{name}", files[name])
        made_for = {
            "version": described.version, "python": tuple(map(int, target.python.split("."))),
            "machine": target.machine, "library": described.library, "needs": described.needs,
            "digest": digest.hexdigest()[:32],
        }  # fmt: skip
        put(archive, "pyz_build.py", _BUILD.format(**made_for).encode())
        put(archive, "__main__.py", Path(__file__).with_name("pyz_start.py").read_bytes())
        put(archive, "manifest.json", msgspec.json.encode(described))
    return packed.getvalue()


def _unpacked(wheel: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MOST_BYTES:
                raise BundleError(f"{wheel.name} is too large to be unpacked")
            for info in archive.infolist():
                parts = PurePosixPath(info.filename).parts
                if info.is_dir():
                    continue
                if not parts or parts[0] == "/" or ".." in parts:
                    raise BundleError(f"{wheel.name} names a file outside of itself: {info.filename[:80]!r}")
                if parts[0].endswith(".data"):
                    # Scripts and headers have no place in a single file.
                    if parts[1] not in ("purelib", "platlib"):
                        continue
                    parts = parts[2:]
                files["/".join(parts)] = archive.read(info)
    except (OSError, zipfile.BadZipFile) as error:
        raise BundleError(f"{wheel.name} cannot be unpacked: {error}") from None
    return files
