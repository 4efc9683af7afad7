"""SGLang releases: PyTorch, CUDA and kernels their wheels pin. Source: `sglang.toml`."""

from functools import cache

import msgspec

from gpudoctor.matrices.table import Confidence, Table, load
from gpudoctor.matrices.versions import same_release


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
    """The content of `sglang.toml`."""

    releases: tuple[SglangRelease, ...]


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
