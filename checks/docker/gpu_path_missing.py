"""The way to the GPUs that a service asks for is the one that is missing.

## Why it matters
`runtime: nvidia` works only where that runtime is registered with the daemon, and `--gpus` needs no runtime. Either
alone is enough; a service that asks for the missing one does not start.

## How to fix
Register the runtime, or ask with `--gpus` or deploy.resources.reservations.devices.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, check, failed, passed, saw, skipped, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Container, Containers, Docker
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.docker_remedies import open_path, other_path
from gpudoctor.judging.gpu_containers import is_gpu_request, meant_for_gpus, nvidia_runtime
from gpudoctor.judging.gpu_paths import GpuPath, Name, Paths, paths
from gpudoctor.judging.presence import need_nvidia

_FORMS: dict[str, Name] = {"deploy": "--gpus", "gpus": "--gpus", "runtime": "runtime: nvidia", "cdi": "CDI"}


@check()
def gpu_path_missing(
    docker: Docker,
    container_toolkit: ContainerToolkit,
    containers: Containers | Unavailable,
    compose: Compose | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
) -> Iterator[Finding]:
    """Hold what each service and container asks for against the three ways."""
    need_nvidia(pci)
    ways = paths(docker, container_toolkit)
    asked: list[tuple[str, Name, bool]] = []
    if isinstance(compose, Compose):
        asked += [(s.subject, _FORMS[r.form], False) for s in compose.services for r in s.requests if r.form in _FORMS]
    if isinstance(containers, Containers):
        asked += [(c.subject, name, c.running) for c in containers.containers
                  if not c.done and meant_for_gpus(c, docker) and (name := _way_of(c, docker)) is not None]
    for subject, name, running in dict.fromkeys(asked):
        yield _judge(subject, ways.named(name), running, ways, docker, container_toolkit, host)
    if not asked:
        yield skipped("host", "no container and no service asks for GPUs")


def _way_of(each: Container, docker: Docker) -> Name | None:
    if any(r.driver == "cdi" for r in each.requests) or any("=" in device for device in each.devices):
        return "CDI"
    if any(is_gpu_request(r) for r in each.requests):
        return "--gpus"
    return "runtime: nvidia" if nvidia_runtime(each, docker) else None


def _judge(
    subject: str, way: GpuPath, running: bool, ways: Paths, docker: Docker, toolkit: ContainerToolkit,
    host: Host | Unavailable,
) -> Finding:
    seen: tuple[Evidence, ...] = (saw("asks by", way.name, "docker inspect, Compose"), *ways.evidence)
    if way.works:
        return passed(subject, "it asks by {name}, which works ({why})", name=way.name, why=way.why, evidence=seen)
    if way.works is None:
        return unknown(subject, "it asks by {name}, of which is not known whether it works: {why}", name=way.name,
                       why=way.why, evidence=seen)
    if way.cause == "ignored" and running:
        return skipped(subject, "it runs without a GPU, as podman ignores --gpus; container.gpu-invisible says so",
                       evidence=seen)
    fix = (*other_path(ways, docker), *open_path(Paths(way, way, way), docker, toolkit, host))
    if running:
        return warned(subject, "it runs, and could not be started again: {name} cannot work ({why})", name=way.name,
                      why=way.why, evidence=seen, fix=fix)
    return failed(subject, "it asks by {name}, which cannot work: {why}", name=way.name, why=way.why, evidence=seen,
                  fix=fix)
