"""cuDNN releases: CUDA, drivers and GPUs. Source: `cudnn.toml`."""

from functools import cache

import msgspec

from gpudoctor.matrices.table import Confidence, Table, load
from gpudoctor.matrices.versions import at_least, version_tuple


class CudnnRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a support matrix: a cuDNN release with a range of CUDA versions, both ends included.

    `capabilities` lists the compute capabilities where the matrix does; otherwise only the ends are known.
    """

    cudnn: str
    cuda_from: str
    cuda_to: str
    min_driver: str
    lowest_capability: tuple[int, int]
    highest_capability: tuple[int, int]
    confidence: Confidence
    source: str
    capabilities: tuple[tuple[int, int], ...] = ()


class VoltaEnd(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Between which releases Maxwell, Pascal and Volta were dropped."""

    last_with: str
    first_without: str
    confidence: Confidence
    source: str


class CudnnTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `cudnn.toml`."""

    first_cuda13: str
    last_cuda11: str
    newest: str
    rows: tuple[CudnnRow, ...]
    volta: VoltaEnd


@cache
def table() -> CudnnTable:
    """Return the whole table with its sources, parsed once."""
    return load("cudnn", CudnnTable)


def rows(version: str) -> tuple[CudnnRow, ...]:
    """Return the support matrix of a release (`9.10.2`, `9.10.2.21`); empty when it was not read."""
    return tuple(row for row in table().rows if version == row.cudnn or version.startswith(row.cudnn + "."))


def runs_before_turing(version: str) -> bool | None:
    """Tell whether a release still has Maxwell, Pascal and Volta; None between the known ends.

    `ValueError` for what is not digits and dots.
    """
    end = table().volta
    if at_least(version, end.first_without):
        return False
    return True if version_tuple(version)[:3] <= version_tuple(end.last_with) else None
