"""SGLang releases: PyTorch, CUDA and kernels their wheels pin, and model classes. Source: `sglang.toml`."""

from functools import cache

import msgspec

from gpudoctor.matrices.models import ModelGroup, group_of
from gpudoctor.matrices.table import Confidence, Table, load
from gpudoctor.matrices.versions import same_release, within


class SglangRelease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The wheel of one release.

    `cuda` and `min_driver` follow from the pinned PyTorch and are None without a pin; `min_compute_capability` is
    None where not verified.
    """

    version: str
    requires_python: str
    confidence: Confidence
    source: str
    torch: str | None = None
    flashinfer: str | None = None
    kernel: str | None = None
    cuda_python: str | None = None
    cuda: str | None = None
    min_driver: str | None = None
    min_compute_capability: tuple[int, int] | None = None


class SglangTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `sglang.toml`; `models_until` is the newest release whose model classes were read."""

    models_until: str
    releases: tuple[SglangRelease, ...]
    models: tuple[ModelGroup, ...]


@cache
def table() -> SglangTable:
    """Return the whole table with its sources, parsed once."""
    return load("sglang", SglangTable)


def releases() -> tuple[SglangRelease, ...]:
    """Return every release known, oldest first; there are others between them."""
    return table().releases


def release(version: str) -> SglangRelease | None:
    """Return a release (`0.5.23`, `v0.5.23`), None if unknown."""
    return next((row for row in releases() if same_release(version, row.version)), None)


def model(architecture: str) -> ModelGroup | None:
    """Return since when an architecture is supported, None when the table does not know: that is no refusal."""
    return group_of(architecture, table().models)


def knows_model(architecture: str, version: str) -> bool | None:
    """Tell whether a release has a class of its own for an architecture.

    None when the table does not know, which includes all releases after `models_until`. False does not rule out that
    Transformers runs the model for SGLang.
    """
    newest = table().models_until
    known = model(architecture)
    if known is None or not (within(version, None, newest) or same_release(version, newest)):
        return None
    return known.has(version)
