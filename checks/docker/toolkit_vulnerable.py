"""The NVIDIA Container Toolkit has known vulnerabilities.

## Why it matters
The toolkit runs as root while a container starts, and several of its releases let an image break out of its container
and take the host. Who runs only images of his own is less exposed; who runs other people's is not.

## How to fix
Bring the toolkit and libnvidia-container to the first release without them. Running containers go on.

## References
- https://www.nvidia.com/en-us/security/
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/release-notes.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, need, passed, saw, skipped, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.host import Host
from gpudoctor.judging.docker_remedies import upgrade_toolkit
from gpudoctor.judging.gpu_paths import reached
from gpudoctor.matrices import containers
from gpudoctor.matrices.versions import release


@check()
def toolkit_vulnerable(container_toolkit: ContainerToolkit, host: Host | Unavailable) -> Iterator[Finding]:
    """Look the installed release up among those that security bulletins name."""
    version = need(container_toolkit.version)
    if version is None:
        yield skipped("host", "the NVIDIA Container Toolkit is not installed")
        return
    installed = saw("nvidia-container-toolkit", version, "packages")
    if reached("toolkit", "runtime-hook", version) is None:
        yield unknown("host", "{version} is no release of the toolkit that the matrices know", version=version,
                      evidence=installed)
        return
    rows = containers.toolkit_cves(version)
    table = containers.table()
    if not rows:
        yield passed("host", "no vulnerability of toolkit {version} was known on {date}", version=version,
                     date=table.retrieved.isoformat(), evidence=installed)
        return
    first = max((row.fixed for row in rows), key=lambda v: release(v) or release("0"))  # type: ignore[arg-type,return-value]
    yield warned(
        "host", "toolkit {version} has {count} known vulnerabilities ({ids}); {first} is the first without them",
        version=version, count=len(rows), ids=tuple(row.id for row in rows), first=first,
        evidence=(installed, *(saw(row.id, f"{_score(row)}fixed in {row.fixed}", table.source(row.source).title)
                               for row in rows)),
        fix=upgrade_toolkit(host, first), links=tuple(dict.fromkeys(table.source(row.source).url for row in rows)),
    )


def _score(row: containers.ToolkitCve) -> str:
    kind = f"{row.kind}; " if row.kind else ""
    return (f"CVSS {row.cvss}; " if row.cvss is not None else "") + kind
