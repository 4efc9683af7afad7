"""Services beside language models: kinds, and the GPU memory of their models. Source: `service_kinds.toml`."""

from functools import cache

import msgspec

from gpudoctor.matrices.table import Confidence, Table, load


class ServiceKind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of service, and what names it and its model.

    Attributes:
        images: Parts of the repository's name of its images.
        variables: Environment variables that name the model; ``flags`` of the command likewise.
        batch_tokens: Tokens of one batch, where fit computes the memory from the model itself.
    """

    name: str
    title: str
    images: tuple[str, ...]
    source: str
    variables: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    default_model: str | None = None
    batch_tokens: int | None = None


class ServiceSize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The peak of one process with this model on one GPU, CUDA context included, in MiB."""

    kind: str
    model: str
    memory_mib: int
    confidence: Confidence
    source: str
    aliases: tuple[str, ...] = ()
    note: str | None = None


class ServiceKindTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `service_kinds.toml`."""

    kinds: tuple[ServiceKind, ...]
    sizes: tuple[ServiceSize, ...]


@cache
def table() -> ServiceKindTable:
    """Return the whole table with its sources, parsed once."""
    return load("service_kinds", ServiceKindTable)


def kind(name: str) -> ServiceKind | None:
    """Return a kind by its name, None if unknown."""
    return next((row for row in table().kinds if row.name == name), None)


def kind_of_image(image: str) -> ServiceKind | None:
    """Return the kind of an image by its repository (the tag does not count), None if unknown."""
    repository = image.partition("@")[0].lower()
    head, colon, tag = repository.rpartition(":")
    repository = head if colon and "/" not in tag else repository
    # The longest name wins: an image of faster-whisper is not one of whisper.
    found = [(len(part), row) for row in table().kinds for part in row.images if part in repository]
    return max(found, key=lambda each: each[0])[1] if found else None


def size(kind_name: str, model: str) -> ServiceSize | None:
    """Return the memory of a model of this kind, whatever the case; None without a sourced figure."""
    wanted = model.lower().removesuffix(".en")
    for row in table().sizes:
        if row.kind == kind_name and wanted in (row.model, *(alias.lower() for alias in row.aliases)):
            return row
    return None


def models(kind_name: str) -> tuple[str, ...]:
    """Return the models of a kind whose memory is known."""
    return tuple(row.model for row in table().sizes if row.kind == kind_name)
