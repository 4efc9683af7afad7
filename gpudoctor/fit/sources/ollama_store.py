"""Models that Ollama has pulled: manifests name blobs, and a model's blob is a GGUF file.

Layout of the store: ``manifests/<registry>/<owner>/<model>/<tag>`` (JSON) and ``blobs/sha256-<digest>``.
"""

import re
from pathlib import Path
from typing import NamedTuple

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources.strict_json import parse_json, read_json

USUAL = (
    "~/.ollama/models",
    "/usr/share/ollama/.ollama/models",
    "/var/lib/ollama/.ollama/models",
    "/root/.ollama/models",
)
"""Where installers and containers put the store."""
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_DIGEST = r"sha256[:-]([0-9a-f]{64})"
MODEL = "application/vnd.ollama.image.model"
PROJECTOR = "application/vnd.ollama.image.projector"


class Blob(NamedTuple):
    """One file a manifest names."""

    media_type: str
    digest: str
    """64 hexadecimal digits."""
    size: int


def reference(text: str) -> tuple[str, str, str, str] | None:
    """Registry, owner, model and tag of a name as `ollama run` takes it; None when it is no such name."""
    base = re.sub(r"^https?://", "", text.strip())
    model, colon, tag = base.rpartition(":")
    if not colon or "/" in tag:
        model, tag = base, "latest"
    words = model.split("/")
    if not 1 <= len(words) <= 3 or not all(re.fullmatch(_WORD, word) for word in (*words, tag)):
        return None
    host = "registry.ollama.ai"
    if len(words) == 3:
        host = {"huggingface.co": "hf.co", "ollama.com": host}.get(words[0].lower(), words[0])
    owner = words[-2] if len(words) > 1 else "library"
    return host, owner, words[-1], tag


def manifest_path(root: Path, text: str) -> Path | None:
    """The manifest of this name in this store, whatever its case; None when it is not there."""
    parts = reference(text)
    if parts is None:
        return None
    here = root / "manifests"
    for part in parts:
        exact = here / part
        if not exact.exists():
            found = _same(here, part)
            if found is None:
                return None
            exact = found
        here = exact
    return here if here.is_file() else None


def _same(folder: Path, name: str) -> Path | None:
    try:
        for number, entry in enumerate(folder.iterdir()):
            if entry.name.lower() == name.lower():
                return entry
            if number > 10_000:
                break
    except OSError:
        pass
    return None


def blobs_of(manifest: Path) -> list[Blob]:
    """The files a manifest names; raises `Unusable` when it is no manifest."""
    return blobs_in(read_json(manifest), str(manifest))


def blobs_in_bytes(data: bytes, where: str) -> list[Blob]:
    """The files named by a manifest's bytes, as a registry sends them."""
    return blobs_in(parse_json(data, where), where)


def blobs_in(found: dict[str, object], where: str) -> list[Blob]:
    """The files named by a parsed manifest."""
    layers = found.get("layers")
    if not isinstance(layers, list) or len(layers) > 1000:
        raise Unusable("no Ollama manifest: it lists no layers", where=where)
    blobs = []
    for layer in layers:
        if not isinstance(layer, dict):
            continue
        digest = re.fullmatch(_DIGEST, str(layer.get("digest", "")))
        size = layer.get("size")
        if digest and isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 50:
            blobs.append(Blob(str(layer.get("mediaType", "")), digest[1], size))
    if not any(blob.media_type == MODEL for blob in blobs):
        raise Unusable("this Ollama manifest names no model file", where=where)
    return blobs


def stores(given: str | Path | None) -> list[Path]:
    """The stores to look into: the given one alone, or those of the usual places that exist."""
    if given is not None:
        return [Path(given).expanduser()]
    found = []
    for place in USUAL:
        path = Path(place).expanduser()
        try:
            if (path / "manifests").is_dir():
                found.append(path)
        except OSError:
            continue
    return found


def blob_path(root: Path, blob: Blob) -> Path:
    """Where a store keeps this file."""
    return root / "blobs" / f"sha256-{blob.digest}"
