"""Which models a composed service will hold: as its commands load them, as they are loaded now, or as it is known."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, ComposeProject, Service
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.serving import Serving
from gpudoctor.judging.composed import value
from gpudoctor.matrices import service_kinds

_LOADS = re.compile(r"\bollama[ \t]+(?:run|pull)[ \t]+([A-Za-z0-9][\w./:-]{0,199})", re.ASCII)
_LABEL = "com.docker.compose."
_MIB = 1 << 20


class Models(NamedTuple):
    """Names of models, and where they were read."""

    names: tuple[str, ...]
    source: str


def ollama_models(
    service: Service, compose: Compose, containers: Containers | Unavailable, serving: Serving | Unavailable
) -> Models | None:
    """Return the models that an Ollama service will hold, None when only its users name them.

    Ollama holds several at once only while they fit: the largest decides.
    """
    project = next((each for each in compose.projects if service in each.services), None)
    others = project.services if project is not None else ()
    told = [name for each in (service, *(other for other in others if _asks(other, service)))
            for name in _LOADS.findall(" ".join(each.command))]
    if told:
        return Models(tuple(dict.fromkeys(told)), service.place.file)
    loaded = tuple(dict.fromkeys(_loaded(service, project, containers, serving)))
    return Models(loaded, "ollama ps") if loaded else None


def _asks(other: Service, service: Service) -> bool:
    """True for a helper that talks to this Ollama: it pulls models there."""
    host = (value(other, "OLLAMA_HOST") or "").rpartition("//")[2].partition(":")[0]
    return other is not service and bool(host) and host in (service.name, service.container_name)


def _loaded(
    service: Service, project: ComposeProject | None, containers: Containers | Unavailable,
    serving: Serving | Unavailable,
) -> Iterator[str]:
    if isinstance(serving, Unavailable) or isinstance(containers, Unavailable):
        return
    own = {
        each.name for each in containers.containers
        if each.labels.get(f"{_LABEL}service") == service.name
        and project is not None and each.labels.get(f"{_LABEL}project") in (None, project.name)
    } | {service.container_name}
    for endpoint in serving.answering:
        if endpoint.container is not None and endpoint.container in own and endpoint.engine == "ollama":
            yield from (model.name for model in endpoint.loaded)


def kind_bytes(service: Service) -> tuple[str, int | None]:
    """Return what kind of service an image is, and the bytes that it holds on a GPU, None where that has no source."""
    kind = service_kinds.kind_of_image(service.image or "")
    if kind is None:
        return service.image or "its image", None
    model = next((found for name in kind.variables if (found := value(service, name))), None)
    model = model or _flag(service.command, kind.flags) or kind.default_model
    size = service_kinds.size(kind.name, model) if model is not None else None
    return kind.title, size.memory_mib * _MIB if size is not None else None


def _flag(words: Sequence[str], flags: Sequence[str]) -> str | None:
    for number, word in enumerate(words):
        name, equals, text = word.partition("=")
        if name in flags:
            return text if equals else words[number + 1] if number + 1 < len(words) else None
    return None
