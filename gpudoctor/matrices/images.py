"""Public container images: the engine and release behind a tag. Source: `images.toml`."""

import re
from functools import cache
from typing import Literal, NamedTuple

import msgspec

from gpudoctor.matrices.table import Confidence, Table, load

Engine = Literal["vllm", "sglang", "ollama", "tgi", "torch", "cuda"]


class Image(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One repository and the form of its tags.

    `cuda_in_tag_only`: without a CUDA in its tag the CUDA of an image is not known, whatever the engine's wheel has.
    """

    repository: str
    engine: Engine
    tag: str
    confidence: Confidence
    source: str
    cuda_in_tag_only: bool = False


class ImageTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `images.toml`."""

    images: tuple[Image, ...]


class Contents(NamedTuple):
    """What a tag says is in an image.

    `cuda` (`12.9`) is None where the tag does not tell; then it is that of the engine's wheel when `like_wheel`.
    """

    engine: Engine
    version: str
    cuda: str | None
    like_wheel: bool


@cache
def table() -> ImageTable:
    """Return the whole table with its sources, parsed once."""
    return load("images", ImageTable)


def engine_of(reference: str) -> Engine | None:
    """Return the engine of an image whatever its tag (`ollama/ollama:latest`), None for an image not known."""
    repository, _ = _split(reference)
    return next((row.engine for row in table().images if row.repository == repository), None)


def contents(reference: str) -> Contents | None:
    """Return what an image reference stands for (`vllm/vllm-openai:v0.33.0`), with or without `docker.io/`.

    None for an image that is not known, and for a tag that names no release (`latest`, a digest alone).
    """
    repository, tag = _split(reference)
    for row in table().images:
        if row.repository == repository and (match := re.fullmatch(row.tag, tag)):
            found = match.groupdict()
            cuda = found["version"] if row.engine == "cuda" else _dotted(found.get("cuda"))
            return Contents(row.engine, found["version"], cuda, not row.cuda_in_tag_only)
    return None


def _split(reference: str) -> tuple[str, str]:
    name = reference.strip().partition("@")[0]
    for prefix in ("docker.io/", "index.docker.io/", "registry-1.docker.io/"):
        name = name.removeprefix(prefix)
    path, _, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return (f"{path}/{last}" if path else last), tag


def _dotted(cuda: str | None) -> str | None:
    return f"{cuda[:-1]}.{cuda[-1]}" if cuda and cuda.isdigit() else cuda
