"""The NVIDIA Container Toolkit fails before the container starts.

## Why it matters
Older releases do not know newer kernels' control groups or distributions' loader settings, and images that carry a
copy of the driver's libraries collide with the injected ones.

## How to fix
Bring the toolkit to its newest release; start from an image without driver libraries.

## References
- https://github.com/NVIDIA/nvidia-docker/issues/1711
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, need, passed, saw, skipped, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.host import Host
from gpudoctor.judging.docker_remedies import upgrade_toolkit
from gpudoctor.judging.gpu_paths import reached
from gpudoctor.matrices import containers


@check()
def toolkit_known_bug(container_toolkit: ContainerToolkit, host: Host | Unavailable) -> Iterator[Finding]:
    """Look the installed release up among those with known faults."""
    version = need(container_toolkit.version)
    if version is None:
        yield skipped("host", "the NVIDIA Container Toolkit is not installed")
        return
    library = known(container_toolkit.libnvidia_container_version)
    seen = (saw("nvidia-container-toolkit", version, "packages"), saw("libnvidia-container1", library, "packages"))
    bugs = containers.toolkit_bugs(version)
    table = containers.table()
    fix = upgrade_toolkit(host, table.newest_toolkit)
    if reached("toolkit", "runtime-hook", version) is None:
        yield unknown("host", "{version} is no release of the toolkit that the matrices know", version=version,
                      evidence=seen)
        return
    if library and reached("toolkit", "exact-package-versions", version) and _plain(library) != _plain(version):
        yield warned("host", "the toolkit is {version} and its library {library}: since 1.18 all must be the same",
                     version=version, library=library, evidence=seen, fix=fix)
    if bugs:
        yield warned("host", "toolkit {version} has {count} known faults; {newest} has none of them", version=version,
                     count=len(bugs), newest=table.newest_toolkit, fix=fix,
                     evidence=(*seen, *(saw(f"until {bug.fixed}", bug.what, table.source(bug.source).title)
                                        for bug in bugs)),
                     links=tuple(dict.fromkeys(table.source(bug.source).url for bug in bugs)))
    else:
        yield passed("host", "no fault of toolkit {version} is known", version=version, evidence=seen)


def _plain(version: str) -> str:
    return version.rpartition(":")[2].partition("-")[0].partition("~")[0]
