"""Docker, Compose and the NVIDIA Container Toolkit by version. Source: `containers.toml`."""

from functools import cache
from typing import Literal

import msgspec

from gpudoctor.matrices.table import Confidence, Table, load
from gpudoctor.matrices.versions import release, within

Product = Literal["docker", "compose", "docker-py", "toolkit"]


class Milestone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first release of a product that has something."""

    product: Product
    key: str
    version: str
    what: str
    confidence: Confidence
    source: str


class ToolkitBug(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault of the toolkit from `since` to before `fixed`; `since` is None where nobody says when it began."""

    fixed: str
    what: str
    confidence: Confidence
    source: str
    since: str | None = None


class ToolkitCve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vulnerability of the toolkit that `fixed` and newer do not have. `cvss` is the base score, 0 to 10."""

    id: str
    fixed: str
    confidence: Confidence
    source: str
    cvss: float | None = None
    kind: str | None = None
    note: str | None = None


class ContainerTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `containers.toml`."""

    recommended_toolkit: str
    newest_toolkit: str
    milestones: tuple[Milestone, ...]
    cdi_0_7_engines: dict[str, str]
    bugs: tuple[ToolkitBug, ...]
    cves: tuple[ToolkitCve, ...]


@cache
def table() -> ContainerTable:
    """Return the whole table with its sources, parsed once."""
    return load("containers", ContainerTable)


def milestone(product: Product, key: str) -> Milestone:
    """Return when a product got something. `KeyError` for a key the table lacks: keys are fixed in our code."""
    for row in table().milestones:
        if (row.product, row.key) == (product, key):
            return row
    raise KeyError(f"{product}: {key}")


def has(product: Product, key: str, version: str) -> bool | None:
    """Tell whether a release of a product has reached a milestone, None for what is no version.

    Debian revisions and suffixes like `-1` or `+dfsg1` do not matter. `KeyError` for a key the table lacks.
    """
    since = milestone(product, key).version
    upstream = _upstream(version)
    return None if release(upstream) is None else within(upstream, since, None)


def toolkit_bugs(version: str) -> tuple[ToolkitBug, ...]:
    """Return the known faults of a toolkit release; empty for what is no version."""
    upstream = _upstream(version)
    return tuple(row for row in table().bugs if within(upstream, row.since, row.fixed))


def toolkit_cves(version: str) -> tuple[ToolkitCve, ...]:
    """Return the known vulnerabilities of a toolkit release; empty for what is no version."""
    upstream = _upstream(version)
    return tuple(row for row in table().cves if within(upstream, None, row.fixed))


def reads_cdi_0_7(engine: str, version: str) -> bool | None:
    """Tell whether a container engine (`docker`, `podman`, `containerd`, `cri-o`) reads what toolkit 1.19 writes.

    None for an engine the table does not know and for what is no version.
    """
    since, upstream = table().cdi_0_7_engines.get(engine), _upstream(version)
    return None if since is None or release(upstream) is None else within(upstream, since, None)


def _upstream(version: str) -> str:
    """Strip what packagers add: `5:29.2.0-1~ubuntu.22.04~jammy` is 29.2.0."""
    return version.strip().rpartition(":")[2].partition("-")[0].partition("+")[0]
