"""Docker is a snap, or runs without root, and does not see the container toolkit.

## Why it matters
A snap is confined: it finds neither the toolkit on the host nor the driver's libraries, and says "could not select
device driver" however often the toolkit is installed. Without root the toolkit may not change device rules.

## How to fix
Install Docker from Docker's own repository; without root use CDI, or no-cgroups in the toolkit's settings.

## References
- https://github.com/NVIDIA/nvidia-docker/issues/1642
- https://docs.docker.com/engine/security/rootless/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, known, noted, passed, saw, skipped
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Docker
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.docker_remedies import leave_root, leave_snap
from gpudoctor.judging.gpu_paths import paths
from gpudoctor.judging.presence import need_nvidia


@check()
def confined(docker: Docker, container_toolkit: ContainerToolkit, pci: Pci | Unavailable) -> Iterator[Finding]:
    """Judge engines of a kind that sees less than this host has; podman and Docker Desktop are only named."""
    need_nvidia(pci)
    rootless = docker.kind == "rootless" or any("rootless" in option for option in docker.security_options)
    ways = paths(docker, container_toolkit)
    seen = (saw("kind", docker.kind, docker.endpoint), saw("root dir", known(docker.root_dir), "docker info"),
            *ways.evidence)
    if docker.kind == "snap" and docker.runtime("nvidia") is not None:
        yield noted("host", "this Docker is a snap and brings a toolkit of its own; the host's counts for nothing",
                    evidence=seen)
    elif docker.kind == "snap":
        yield failed("host", "this Docker is a snap: its daemon does not see the toolkit on this host", evidence=seen,
                     fix=leave_snap())
    elif rootless and not any(way.works for way in ways):
        yield failed("host", "this Docker runs without root, and no GPU can reach its containers", evidence=seen,
                     fix=leave_root(docker))
    elif docker.kind == "desktop":
        yield skipped("host", "Docker Desktop runs its engine in a virtual machine that cannot be seen from here",
                      evidence=seen)
    else:
        yield passed("host", "nothing confines this engine ({kind})", kind=docker.kind, evidence=seen[:2])
