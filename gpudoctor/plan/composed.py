"""Compose services as services to place: those that run an engine, a known kind, or ask for a GPU at all."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.compose import Service as Facts
from gpudoctor.facts.gpus import Gpus
from gpudoctor.fit.compose_service import asked_of
from gpudoctor.fit.model import Unusable
from gpudoctor.fit.settings import Settings
from gpudoctor.judging import composed
from gpudoctor.matrices import service_kinds
from gpudoctor.plan.service import MOST_SERVICES, PARALLEL, Service

_PLAIN = Settings()


def services_of(compose: Compose, gpus: Gpus | Unavailable) -> tuple[Service, ...]:
    """Return what is to be placed, in the order of the files.

    Raises:
        Unusable: More services than one machine runs, a flag's value that is none, or a GPU that is not there.
    """
    found = [service for each in compose.services if (service := service_of(each, gpus)) is not None]
    if len(found) > MOST_SERVICES:
        raise Unusable(f"{len(found)} services want GPUs", where=found[0].origin.file,
                       hint=f"one machine runs at most {MOST_SERVICES}")
    names = {service.name for service in found}
    return tuple(each._replace(after=tuple(name for name in each.after if name in names)) for each in found)


def service_of(facts: Facts, gpus: Gpus | Unavailable) -> Service | None:
    """Return one service, None for one that has no use for a GPU (a web page, a database)."""
    engine, kind = composed.engine(facts), service_kinds.kind_of_image(facts.image or "")
    wants = bool(composed.nvidia_requests(facts)) or facts.runtime == "nvidia"
    if not wants and (engine is None or composed.vendor(facts) is None):
        return None
    given = composed.given(facts, gpus)
    if given.missing:
        names = ", ".join(name for name, _ in given.missing)
        here = [gpu.index for gpu in gpus.gpus] if isinstance(gpus, Gpus) else []
        place = given.missing[0][1].place
        raise Unusable(f"service {facts.name} asks for GPU {names[:60]}, which this machine lacks",
                       where=f"{place.file}:{place.line}", hint=f"it has {', '.join(map(str, here))}")
    written = given.used or None
    service = Service(facts.name, facts.place, written=written, after=facts.depends_on)
    if engine is not None:
        return _engine(service, facts, engine)
    if kind is not None:
        return _kind(service, facts, kind)
    return service._replace(problem="gpudoctor does not know what this image holds")


def _engine(service: Service, facts: Facts, engine: str) -> Service:
    try:
        question = asked_of(facts)
    except Unusable as problem:
        raise Unusable(problem.message, where=f"{facts.place.file}:{facts.place.line}", hint=problem.hint) from None
    settings = question.settings
    size = composed.group_size(question, len(service.written or ()))
    if engine in PARALLEL and service.written and size <= len(service.written):
        # It sees more GPUs than it takes: the first ones.
        service = service._replace(written=service.written[:size])
    if engine in PARALLEL and settings.tensor_parallel is None and settings.pipeline_parallel is None:
        settings = settings._replace(tensor_parallel=size)
    loaded = composed.value(facts, "OLLAMA_MAX_LOADED_MODELS") or ""
    most = int(loaded) if loaded.isascii() and loaded.isdigit() and 0 < len(loaded) < 5 else None
    service = service._replace(engine=engine, settings=settings, max_loaded=most or None)
    if question.model is None:
        return service._replace(problem="its users name the models" if engine == "ollama" else "it names no model")
    if question.model.startswith("/") and not Path(question.model).exists():
        return service._replace(problem="its model lies in the container")
    return service._replace(models=(question.model,))


def _kind(service: Service, facts: Facts, kind: service_kinds.ServiceKind) -> Service:
    model = next((v for name in kind.variables if (v := composed.value(facts, name))), None)
    model = model or _flag(facts.command, kind.flags) or kind.default_model
    service = service._replace(kind=kind.name, models=(model,) if model else ())
    if model is None:
        return service._replace(problem=f"which model this {kind.title} loads is not said")
    if kind.batch_tokens is None and service_kinds.size(kind.name, model) is None:
        return service._replace(problem=f"the memory of {model[:60]} as {kind.name} is not known")
    return service


def _flag(words: Sequence[str], flags: Sequence[str]) -> str | None:
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in flags:
            return value if equals else words[number + 1] if number + 1 < len(words) else None
    return None


def merged(services: Sequence[Service], told: Sequence[Service]) -> tuple[Service, ...]:
    """Return services with what a plan's file says of them by name; a name that is new is a new service.

    Raises:
        Unusable: The file says two things of one name.
    """
    for name, count in Counter(service.name for service in told).items():
        if count > 1:
            second = [service.origin for service in told if service.name == name][1]
            raise Unusable(f"there are two services called {name[:60]!r}", where=f"{second.file}:{second.line}")
    by_name = {service.name: service for service in told}
    found = []
    for service in services:
        more = by_name.pop(service.name, None)
        if more is None:
            found.append(service)
            continue
        keep = more.written is None
        settings = service.settings
        if more.settings != _PLAIN:
            given = {k: v for k, v in more.settings._asdict().items() if v != getattr(_PLAIN, k)}
            settings = settings._replace(**given)
        found.append(service._replace(
            kind=more.kind or service.kind, models=more.models or service.models, settings=settings,
            memory_bytes=more.memory_bytes, written=service.written if keep else more.written,
            pinned=service.pinned if keep else True, max_loaded=more.max_loaded or service.max_loaded,
            problem=service.problem if not (more.models or more.memory_bytes) else more.problem, strict=True,
        ))  # fmt: skip
    return (*found, *by_name.values())
