"""Who takes which path to the GPUs: running containers, and services of the Compose files that were named."""

from collections.abc import Iterator

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Containers, Docker
from gpudoctor.judging.gpu_containers import nvidia_runtime, route

_SHOWN = 4
#: How a Compose file asks -> the path that serves it.
_FORMS = {"deploy": "--gpus", "gpus": "--gpus", "runtime": "runtime: nvidia", "cdi": "CDI"}


def users(
    path: str,
    docker: Docker | Unavailable,
    containers: Containers | Unavailable,
    compose: Compose | Unavailable,
    toolkit: ContainerToolkit | Unavailable,
) -> tuple[str, ...]:
    """Return the names of those that ask for GPUs by this path, the first few."""
    found = [*_containers(path, docker, containers, toolkit), *_services(path, compose)]
    return tuple(dict.fromkeys(found))[:_SHOWN]


def _containers(
    path: str, docker: Docker | Unavailable, containers: Containers | Unavailable,
    toolkit: ContainerToolkit | Unavailable,
) -> Iterator[str]:
    if isinstance(docker, Unavailable) or isinstance(containers, Unavailable):
        return
    for container in containers.containers:
        way = route(container, docker, toolkit)
        if way is None:
            continue
        # runtime: nvidia stays that path, whatever the toolkit makes of it inside.
        by_runtime = nvidia_runtime(container, docker) and not container.requests
        taken = "runtime: nvidia" if by_runtime else "CDI" if way == "cdi" else "--gpus" if way == "hook" else None
        if taken == path:
            yield container.name


def _services(path: str, compose: Compose | Unavailable) -> Iterator[str]:
    if isinstance(compose, Unavailable):
        return
    for service in compose.services:
        if any(_FORMS.get(request.form) == path for request in service.requests):
            yield service.name
