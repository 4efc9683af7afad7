"""Text Generation Inference: what its last release was built with. Source: `tgi.toml`."""

from functools import cache

import msgspec

from gpudoctor.matrices.table import Confidence, Table, load
from gpudoctor.matrices.versions import same_release


class TgiRelease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One release of the CUDA image; below `flash_attention_from` the launcher does without flash attention."""

    version: str
    torch: str
    cuda: str
    min_driver: str
    arch_list: tuple[str, ...]
    flash_attention_from: tuple[int, int]
    maintenance_only: bool
    confidence: Confidence
    source: str


class TgiTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `tgi.toml`."""

    releases: tuple[TgiRelease, ...]


@cache
def table() -> TgiTable:
    """Return the whole table with its sources, parsed once."""
    return load("tgi", TgiTable)


def release(version: str) -> TgiRelease | None:
    """Return a release (`3.3.7`, `v3.3.7`), None if unknown."""
    return next((row for row in table().releases if same_release(version, row.version)), None)
