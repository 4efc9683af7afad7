"""What will run on which GPUs: engines of Compose services and of running containers, told in one form."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, GpuRequest, Place, Service, Variable, Volume
from gpudoctor.facts.docker import Container, Containers
from gpudoctor.facts.gpus import Gpus
from gpudoctor.fit.compose_service import Service as Asked
from gpudoctor.fit.compose_service import plain_words
from gpudoctor.judging import composed
from gpudoctor.matrices import images

#: Where a container's settings stand: in no file.
_RUNNING = Place(file="running now", line=1)
#: ``--gpus '"device=0:1"'``: the second MIG slice of the first GPU.
_SLICE = re.compile(r"MIG-.+|\d{1,4}:\d{1,4}", re.ASCII)
#: A GPU's own device files, NVIDIA's or AMD's.
_NODES = ("/dev/nvidia", "/dev/kfd", "/dev/dri")


class Workload(NamedTuple):
    """One engine in a container. ``service`` has its image, command line, variables and GPU requests.

    ``image`` is the name that tells its release, where any does. ``gpus`` are the host's indices that CUDA shows it,
    None where that is not known. ``slices`` are MIG slices handed to it. ``place`` is None for what runs already.
    """

    subject: str
    service: Service
    image: str
    engine: str
    gpus: tuple[int, ...] | None
    slices: tuple[str, ...]
    asked: Asked | None
    container: str | None = None

    @property
    def place(self) -> Place | None:
        """Where its service stands, None for a container that runs."""
        return None if self.container is not None else self.service.place

    @property
    def model(self) -> str | None:
        """The model that its command or variables name, None when its users do."""
        return self.asked.model if self.asked is not None else None

    def flag(self, *names: str) -> str | None:
        """Return the value of the first of these flags (``--dtype half``, ``--dtype=half``) on its command line."""
        words = plain_words(self.service.command)
        for at, word in enumerate(words):
            name, equals, value = word.partition("=")
            if name in names:
                return value if equals else words[at + 1] if at + 1 < len(words) else None
        return None

    def variable(self, name: str) -> str | None:
        """Return the value of one of its variables, None when it is not set."""
        return composed.value(self.service, name)


#: The sections last asked about, and what was found in them.
_last: list[Any] = []


def workloads(
    compose: Compose | Unavailable, containers: Containers | Unavailable, gpus: Gpus | Unavailable
) -> tuple[Workload, ...]:
    """Return the engines of all services, then of all running containers that were given GPUs."""
    # Ten checks ask for the same ones in a row.
    if not (_last and all(old is new for old, new in zip(_last[0], (compose, containers, gpus), strict=True))):
        _last[:] = (compose, containers, gpus), (*_composed(compose, gpus), *_running(containers, gpus))
    found: tuple[Workload, ...] = _last[1]
    return found


def _composed(compose: Compose | Unavailable, gpus: Gpus | Unavailable) -> Iterator[Workload]:
    for service in () if isinstance(compose, Unavailable) else compose.services:
        found = _workload(service.subject, service, (service.image or "",), gpus)
        if found is not None:
            yield found


def _running(containers: Containers | Unavailable, gpus: Gpus | Unavailable) -> Iterator[Workload]:
    for each in () if isinstance(containers, Unavailable) else containers.containers:
        service = as_service(each)
        if not each.running or not service.requests:
            continue
        tags = () if isinstance(each.image_facts, Unavailable) else each.image_facts.tags
        found = _workload(each.subject, service, (each.image, *tags), gpus)
        if found is not None:
            yield found._replace(container=each.id)


def _workload(subject: str, service: Service, names: tuple[str, ...], gpus: Gpus | Unavailable) -> Workload | None:
    """Return what runs in a container, None for no engine that is known."""
    image = next((own for name in names if (own := public_name(name)) is not None), names[0])
    engine = composed.engine(service) or images.engine_of(image)
    if engine is None:
        return None
    wanted = composed.nvidia_requests(service)
    named = (part.partition("=")[2] or part for each in wanted for name in each.device_ids for part in name.split(","))
    # Device files may belong to any GPU.
    by_file = not wanted and any(each.form == "device" for each in service.requests)
    used = None if by_file else composed.given(service, gpus).used
    return Workload(subject, service, image, engine, used, tuple(n for n in named if _SLICE.fullmatch(n)),
                    composed.asked(service))


def public_name(reference: str) -> str | None:
    """Return the public image, with its release, that a reference or its copy in another registry stands for.

    ``harbor.local/proxy/vllm/vllm-openai:v0.10.2`` is ``vllm/vllm-openai:v0.10.2``; None for a tag without a release.
    """
    parts = reference.split("/")
    names = ("/".join(parts[at:]) for at in range(min(len(parts), 8)))
    return next((name for name in names if images.contents(name) is not None), None)


def as_service(container: Container) -> Service:
    """Return a container in the form of a Compose service: what it runs, is set to, was given and may use."""
    requests = tuple(
        GpuRequest(form="cdi" if each.driver == "cdi" else "deploy", place=_RUNNING, driver=each.driver,
                   count=each.count, device_ids=each.device_ids, capabilities=each.capabilities)
        for each in container.requests
    )
    named = tuple(each for each in container.devices if each.startswith("nvidia.com/"))
    if named:
        requests += (GpuRequest(form="cdi", place=_RUNNING, device_ids=named),)
    image = container.image_facts
    if not requests:
        requests = _by_runtime(container, not isinstance(image, Unavailable) and image.asks_for_gpus)
    files = tuple(GpuRequest(form="device", place=_RUNNING, device_ids=(each,)) for each in container.devices
                  if each.startswith(_NODES))
    tags = () if isinstance(image, Unavailable) else image.tags
    return Service(
        name=container.name, place=_RUNNING,
        image=tags[0] if tags and container.image.startswith("sha256:") else container.image,
        command=container.command, runtime=container.runtime,
        requests=(*requests, *files)[:64],
        variables=tuple(Variable(name=k, value=v, place=_RUNNING) for k, v in container.environment.items()),
        volumes=tuple(Volume(target=each.destination, source=each.source, kind=each.kind, place=_RUNNING)
                      for each in container.mounts),
        ipc=container.ipc_mode or None,
        shm_size_bytes=container.shm_size_bytes if isinstance(container.shm_size_bytes, int) else None,
        memory_limit_bytes=container.memory_limit_bytes,
    )  # fmt: skip


def _by_runtime(container: Container, image_asks: bool) -> tuple[GpuRequest, ...]:
    visible = container.environment.get("NVIDIA_VISIBLE_DEVICES", "all" if image_asks else "").strip()
    if not container.runtime.startswith("nvidia") or visible.lower() in ("", "void", "none"):
        return ()
    return (GpuRequest(form="runtime", place=_RUNNING, device_ids=tuple(visible.split(","))),)

