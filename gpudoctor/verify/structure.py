"""Whether a model file is as long as its header says."""

import os
import re
from pathlib import Path

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources.gguf import read_gguf
from gpudoctor.fit.sources.safetensors import read_safetensors

_MARK = re.compile(r" \(at byte \d+\)$")


def structure_problem(path: str, kind: str) -> str:
    """Return what is wrong with a file's structure, empty when nothing is, or nothing is known of its kind."""
    try:
        if kind == "safetensors":
            return _safetensors(path)
        if kind == "gguf":
            missing = read_gguf(Path(path)).missing_bytes
            return f"it is {missing} bytes shorter than its header says" if missing else ""
        if kind == "torch":
            return _torch(path)
    except Unusable as error:
        return error.message
    return ""


def _safetensors(path: str) -> str:
    found = read_safetensors(Path(path))
    if found.missing_bytes:
        return f"it is {found.missing_bytes} bytes shorter than its header says"
    with open(path, "rb") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
    surplus = found.file_bytes - header - sum(each.size for each in found.tensors)
    return f"it is {surplus} bytes longer than its header says" if surplus > 0 else ""


def _torch(path: str) -> str:
    """PyTorch writes a zip archive since 1.6, whose directory comes last; what is older shows no length."""
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return ""
        file.seek(-min(os.fstat(file.fileno()).st_size, 65_557), os.SEEK_END)
        return "" if b"PK\x05\x06" in file.read(65_557) else "it is cut short: the directory at its end is missing"


def kind_of(path: str, start: bytes) -> str:
    """Return a file's kind by its name and its first bytes (512 are enough), ``file`` when it is none of ours."""
    name = os.path.basename(path).lower()
    for ending, kind in ((".safetensors", "safetensors"), (".gguf", "gguf"), (".whl", "wheel")):
        if name.endswith(ending):
            return kind
    if start[:4] == b"GGUF":
        return "gguf"
    if start[257:262] == b"ustar" or name.endswith(".tar"):
        return "tar"
    if start[:2] == b"\x1f\x8b" or name.endswith((".gz", ".tgz")):
        return "gzip"
    if start[:4] == b"\x28\xb5\x2f\xfd" or name.endswith((".zst", ".tzst")):
        return "zstd"
    if name.endswith((".bin", ".pt", ".pth", ".ckpt")) and start[:4] == b"PK\x03\x04":
        return "torch"
    if start[8:10] in (b'{"', b"{}") and int.from_bytes(start[:8], "little") < 1 << 27:
        return "safetensors"
    return "file"
