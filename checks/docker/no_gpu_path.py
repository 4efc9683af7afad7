"""Docker's daemon finds no way to hand GPUs to containers.

## Why it matters
There are three ways, and one is enough. `--gpus` and device reservations in Compose are served by the daemon, which
needs the toolkit's hook on its own PATH at the moment it starts (from 29.2 on, CDI comes first). `runtime: nvidia`
must be registered with the daemon. CDI needs a specification on disk, and an engine that reads it (Docker 25.0; on by
default from 28.2). "could not select device driver" says that the daemon found neither the hook nor CDI; it says
nothing about the driver. `docker info` without a runtime nvidia is no fault while another way works.

## How to fix
Install the toolkit, register it, restart the daemon; or write a CDI specification.

## References
- https://github.com/NVIDIA/nvidia-docker/issues/1034
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html
- https://docs.docker.com/build/building/cdi/
"""

from collections.abc import Iterator
from typing import Any

from gpudoctor.checking import Finding, Target, check, failed, noted, passed, saw, skipped, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Containers, Docker
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.live import Live
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.docker_remedies import install_toolkit, open_path
from gpudoctor.judging.gpu_containers import wanted_gpus
from gpudoctor.judging.gpu_paths import Paths, paths
from gpudoctor.judging.live_looks import proved
from gpudoctor.judging.presence import need_nvidia


@check(gatekeeper_of="container_toolkit")
def no_gpu_path(
    container_toolkit: ContainerToolkit | Unavailable,
    docker: Docker | Unavailable,
    containers: Containers | Unavailable,
    compose: Compose | Unavailable,
    engines: Engines | Unavailable,
    python_envs: PythonEnvs | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
    live: Live | Unavailable,
    gpus: Gpus | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Judge the three ways for new containers, and show them."""
    if isinstance(container_toolkit, Unavailable):
        said = skipped if container_toolkit.harmless else unknown
        yield said("host", "the container toolkit could not be looked for: {reason}", reason=container_toolkit.reason)
        return
    need_nvidia(pci)
    if isinstance(docker, Unavailable):
        if target.installing and container_toolkit.version is None:
            yield noted("host", "the NVIDIA Container Toolkit is not installed yet; containers need it for GPUs",
                        evidence=saw("nvidia-container-toolkit", None, "packages"), fix=install_toolkit(host))
        else:
            yield skipped("host", "no Docker to hand GPUs on: {reason}", reason=docker.reason)
        return
    ways = proved(paths(docker, container_toolkit), live, gpus)
    fix = open_path(ways, docker, container_toolkit, host)
    values: dict[str, Any] = {"gpus": ways.gpus.words, "runtime": ways.runtime.words, "cdi": ways.cdi.words}
    if all(way.works for way in ways):
        yield passed("host", "GPUs reach containers by --gpus, runtime: nvidia and CDI", evidence=ways.evidence)
    elif any(way.works for way in ways):
        yield noted("host", "--gpus {gpus}; runtime: nvidia {runtime}; CDI {cdi}", **values, evidence=ways.evidence)
    elif target.installing:
        yield noted("host", "no way to hand GPUs to containers yet: --gpus {gpus}; runtime: nvidia {runtime}; CDI "
                    "{cdi}", **values, evidence=ways.evidence, fix=fix)
    elif any(way.works is None for way in ways):
        yield unknown("host", "it is not known whether GPUs reach containers: --gpus {gpus}; runtime: nvidia "
                      "{runtime}; CDI {cdi}", **values, evidence=ways.evidence, fix=fix)
    else:
        yield _none(ways, wanted_gpus(target, containers, compose, docker), _native(target, engines, python_envs), fix)


def _none(ways: Paths, wanted: str | None, native: bool, fix: Any) -> Finding:
    """A Docker that serves other purposes beside engines on the host itself needs no GPU."""
    if wanted is not None:
        return failed("host", "no container can get a GPU, and {wanted} asks for some", wanted=wanted,
                      evidence=ways.evidence, fix=fix)
    if native:
        return noted("host", "no container can get a GPU here; the engines found run without Docker",
                     evidence=ways.evidence, fix=fix)
    return warned("host", "Docker runs beside the GPUs, and no container can get one", evidence=ways.evidence, fix=fix)


def _native(target: Target, engines: Engines | Unavailable, envs: PythonEnvs | Unavailable) -> bool:
    if any(wish.image is None for wish in target.engines):
        return True
    programs = isinstance(engines, Engines) and any(each.container is None for each in engines.engines)
    installed = isinstance(envs, PythonEnvs) and any(e.engines and not e.in_image for e in envs.environments)
    return programs or installed
