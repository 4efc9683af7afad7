"""Container images in an archive or a layout folder: does all that they name lie there, unchanged?

Two forms: the OCI layout (``index.json`` names manifests, these name layers, all in ``blobs/sha256/<digest>``), and the
older one of ``docker save`` (``manifest.json`` names ``<id>.json`` and ``<id>/layer.tar``; the former holds the SHA-256
of every layer). Newer engines write both into one archive.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

BLOB = re.compile(r"(?:.*/)?blobs/sha256/([0-9a-f]{64})")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
#: Bytes of a JSON document in an image, and the depth of indexes in indexes.
LARGEST_JSON = 4 << 20
_DEPTH = 4


class Content(NamedTuple):
    """One member: its length, the SHA-256 of it, and where it is a link to."""

    size: int
    sha256: str
    link: str = ""


Fetch = Callable[[str], bytes | None]
"""A small member's bytes by name; None when it is not there."""


class Verdict(NamedTuple):
    """``problems`` are what is broken or missing; ``compared`` counts members that a checksum covers."""

    problems: list[str]
    compared: int
    absent_platforms: int = 0


def judge_image(members: Mapping[str, Content], fetch: Fetch) -> Verdict | None:
    """Compare an image's members with each other; None when they are no image."""
    problems, compared, absent = [], 0, 0
    known = False
    for name, content in members.items():
        if (found := BLOB.fullmatch(name)) and not content.link:
            known, compared = True, compared + 1
            if content.sha256 != found[1]:
                problems.append(f"{name[-71:]} is not what its name says")
    if fetch("oci-layout") is not None or (known and "index.json" in members):
        known = True
        absent = _index(members, fetch, _object(fetch("index.json")), problems, 0)
    legacy = fetch("manifest.json")
    if legacy is not None:
        images = _parsed(legacy)
        if isinstance(images, list) and images and all(isinstance(i, dict) and "Layers" in i for i in images):
            known = True
            compared += sum(_legacy(image, members, fetch, problems) for image in images[:4096])
        elif "layer.tar" in "".join(list(members)[:4096]):
            known = True
            problems.append("manifest.json cannot be read")
    return Verdict(list(dict.fromkeys(problems)), compared, absent) if known else None


def _index(members: Mapping[str, Content], fetch: Fetch, index: Any, problems: list[str], depth: int) -> int:
    """Follow an index to its manifests; return how many platforms it names that are not here, as engines save one."""
    manifests = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(manifests, list) or depth > _DEPTH:
        problems.append("index.json cannot be read")
        return 0
    present, absent = 0, 0
    lost: list[str] = []
    bare: list[Mapping[str, Any]] = []
    for each in manifests[:4096]:
        name = _place(each)
        if name is None:
            if not _other_digest(each):
                problems.append("an index names a manifest without a digest")
            continue
        if name not in members:
            lost += [] if _attestation(each) else [name]
            continue
        found = _object(fetch(name))
        if depth and isinstance(found, dict) and _without_layers(found, members):
            bare.append(found)
            continue
        present += not _attestation(each)
        if isinstance(found, dict) and "manifests" in found:
            absent += _index(members, fetch, found, problems, depth + 1)
        elif isinstance(found, dict):
            _manifest(found, members, problems)
        else:
            problems.append(f"{name} cannot be read")
    if depth and present:
        return absent + len(lost) + len(bare)
    for each in bare:
        _manifest(each, members, problems)
    problems += [] if bare else [f"{name} is missing" for name in lost]
    return absent


def _attestation(descriptor: Any) -> bool:
    """True for what a build tool says about an image: it runs nowhere."""
    notes = descriptor.get("annotations") if isinstance(descriptor, dict) else None
    return isinstance(notes, dict) and notes.get("vnd.docker.reference.type") == "attestation-manifest"


def _without_layers(manifest: Mapping[str, Any], members: Mapping[str, Content]) -> bool:
    """True for a platform that an engine knows of and never pulled."""
    layers = manifest.get("layers")
    return isinstance(layers, list) and bool(layers) and all(_place(each) not in members for each in layers)


def _other_digest(descriptor: Any) -> bool:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    return isinstance(digest, str) and ":" in digest and not digest.startswith("sha256:")


def _manifest(manifest: Mapping[str, Any], members: Mapping[str, Content], problems: list[str]) -> None:
    layers = manifest.get("layers")
    for part in (manifest.get("config"), *(layers if isinstance(layers, list) else (None,))):
        name = _place(part)
        if name is None:
            problems += [] if _other_digest(part) else ["a manifest names a layer without a digest"]
        elif name not in members:
            # Layers that may not be passed on stay where they are published.
            if not (isinstance(part, dict) and part.get("urls")):
                problems.append(f"{name} is missing")
        elif isinstance(part, dict) and part.get("size") != members[name].size:
            problems.append(f"{name} has {members[name].size} of {part.get('size')} bytes")


def _place(descriptor: Any) -> str | None:
    digest = _DIGEST.fullmatch(str(descriptor.get("digest", ""))) if isinstance(descriptor, dict) else None
    return f"blobs/sha256/{digest[1]}" if digest else None


def _legacy(image: Mapping[str, Any], members: Mapping[str, Content], fetch: Fetch, problems: list[str]) -> int:
    """Compare the layers with the configuration that names their checksums; return how many were compared."""
    name, layers = str(image.get("Config", "")), image.get("Layers")
    if name not in members:
        problems.append(f"{name[:80]} is missing")
        return 0
    by_name = re.fullmatch(r"([0-9a-f]{64})\.json", name)
    if by_name and members[name].sha256 != by_name[1]:
        problems.append(f"{name} is not what its name says")
        return 0
    config = _object(fetch(name))
    rootfs = config.get("rootfs") if isinstance(config, dict) else None
    wanted = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(wanted, list) or not isinstance(layers, list) or len(wanted) != len(layers):
        problems.append(f"{name[:80]} and manifest.json name different layers")
        return 0
    compared = 1 if by_name else 0
    for layer, diff_id in zip(layers, wanted, strict=True):
        found = _resolved(str(layer), members)
        if found is None:
            problems.append(f"{str(layer)[:80]} is missing")
        elif not BLOB.fullmatch(str(layer)):
            # In the OCI form a layer may be compressed: its name is its checksum then, not the configuration's.
            compared += 1
            if f"sha256:{found.sha256}" != diff_id:
                problems.append(f"{str(layer)[:80]} is not what the image's configuration says")
    return compared


def _resolved(name: str, members: Mapping[str, Content]) -> Content | None:
    """Follow links in the archive: layers that images share are saved once."""
    for _ in range(8):
        found = members.get(name)
        if found is None or not found.link:
            return found
        # A hard link counts from the archive's root.
        parts = [*([] if found.link.startswith("/") else name.split("/")[:-1]), *found.link.split("/")]
        path: list[str] = []
        for part in parts:
            if part == "..":
                path = path[:-1]
            elif part not in ("", "."):
                path.append(part)
        name = "/".join(path)
    return None


def _object(data: bytes | None) -> Any:
    return _parsed(data) if data is not None else None


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
