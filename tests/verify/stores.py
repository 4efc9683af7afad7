"""Real stores, small: written by the packages that define the formats, by tar, or laid out as the engines do it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

MODEL = "application/vnd.ollama.image.model"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def flip(path: Path, at: int = -1) -> None:
    """Turn one bit of a file over, and leave its length."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path, count: int = 1) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def ollama_store(root: Path, weights: bytes) -> dict[str, Path]:
    """A store with one model, ``tiny:1b``; its blobs by their part in it."""
    parts = {"weights": weights, "config": b'{"model_format":"gguf"}', "license": b"free " * 50}
    blobs = {}
    for name, data in parts.items():
        blobs[name] = root / "blobs" / f"sha256-{sha256(data)}"
        blobs[name].parent.mkdir(parents=True, exist_ok=True)
        blobs[name].write_bytes(data)

    def layer(name: str, kind: str) -> dict[str, Any]:
        return {"mediaType": kind, "digest": f"sha256:{sha256(parts[name])}", "size": len(parts[name])}

    manifest = root / "manifests/registry.ollama.ai/library/tiny/1b"
    manifest.parent.mkdir(parents=True)
    document = {
        "schemaVersion": 2,
        "config": layer("config", "application/vnd.docker.container.image.v1+json"),
        "layers": [layer("weights", MODEL), layer("license", "application/vnd.ollama.image.license")],
    }
    manifest.write_text(json.dumps(document), encoding="utf-8")
    return {**blobs, "manifest": manifest}


def sharded(folder: Path, count: int = 3) -> list[Path]:
    """A safetensors model in shards with its index."""
    folder.mkdir(parents=True, exist_ok=True)
    files, weights = [], {}
    for number in range(1, count + 1):
        name = f"model-{number:05}-of-{count:05}.safetensors"
        tensor = f"layer.{number}.weight"
        save_file({tensor: np.full((16, 16), number, dtype=np.float32)}, str(folder / name))
        weights[tensor] = name
        files.append(folder / name)
    index = {"metadata": {"total_size": count * 1024}, "weight_map": weights}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return files


def hash_list(folder: Path, *names: str) -> Path:
    """``sha256sum NAMES > SHA256SUMS``."""
    rows = [f"{sha256((folder / name).read_bytes())}  {name}\n" for name in names]
    path = folder / "SHA256SUMS"
    path.write_text("".join(rows), encoding="utf-8")
    return path


def _layer(text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        _add(tar, "etc/motd", text.encode() * 400)
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def legacy_image(path: Path, leave_out: str = "") -> Path:
    """What ``docker save`` of Docker 24 writes, with two layers of which the second is there twice, as a link."""
    layers = [_layer("one"), _layer("two")]
    diff_ids = [f"sha256:{sha256(each)}" for each in (*layers, layers[1])]
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}})
    names = ["1" * 64 + "/layer.tar", "2" * 64 + "/layer.tar", "3" * 64 + "/layer.tar"]
    manifest = [{"Config": f"{sha256(config.encode())}.json", "RepoTags": ["tiny:1"], "Layers": names}]
    with tarfile.open(path, "w") as tar:
        for name, data in zip(names, layers, strict=False):
            if name[0] != leave_out:
                _add(tar, name, data)
        link = tarfile.TarInfo(names[2])
        link.type, link.linkname = tarfile.SYMTYPE, f"../{names[1]}"
        tar.addfile(link)
        _add(tar, manifest[0]["Config"], config.encode())  # type: ignore[arg-type]
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return path


def oci_parts() -> dict[str, bytes]:
    """The files of an OCI layout with one image for this platform, and another platform that was never pulled."""
    blobs: dict[str, bytes] = {}

    def keep(data: bytes, kind: str) -> dict[str, Any]:
        blobs[f"blobs/sha256/{sha256(data)}"] = data
        return {"mediaType": kind, "digest": f"sha256:{sha256(data)}", "size": len(data)}

    layer = keep(_layer("one"), "application/vnd.oci.image.layer.v1.tar")
    config = keep(b'{"architecture":"amd64"}', "application/vnd.oci.image.config.v1+json")
    image = json.dumps({"schemaVersion": 2, "config": config, "layers": [layer]}).encode()
    here = keep(image, "application/vnd.oci.image.manifest.v1+json")
    elsewhere = {"mediaType": here["mediaType"], "digest": "sha256:" + "a" * 64, "size": 400,
                 "platform": {"architecture": "arm64", "os": "linux"}}  # fmt: skip
    platforms = keep(json.dumps({"schemaVersion": 2, "manifests": [here, elsewhere]}).encode(),
                     "application/vnd.oci.image.index.v1+json")  # fmt: skip
    index = json.dumps({"schemaVersion": 2, "manifests": [platforms]}).encode()
    return {**blobs, "index.json": index, "oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}


def oci_archive(path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in oci_parts().items():
            _add(tar, name, data)
    return path
