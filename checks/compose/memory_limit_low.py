"""A service's memory limit is below what loading its model takes in main memory.

## Why it matters
The kernel kills the engine in the middle of loading (exit code 137, "OOMKilled") although the GPUs have room: layers
that stay on the processor, pinned buffers and a process for each GPU live in main memory.

## How to fix
Raise or remove the limit; `gpudoctor fit --from-compose FILE:SERVICE` shows what the host needs.

## References
- https://docs.docker.com/engine/containers/resource_constraints/
- https://docs.docker.com/reference/compose-file/deploy/#resources
"""

from collections.abc import Iterator

import msgspec

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step
from gpudoctor.facts.amd import Amd
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, Service
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.serving import Serving
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.fit.compose_service import Service as Asked
from gpudoctor.judging.composed import asked, at, given, radeons, vendor
from gpudoctor.judging.composed_fit import Load, load_of
from gpudoctor.judging.composed_models import ollama_models

#: Engines whose main memory follows from the model's layers alone; that of the others was measured on CUDA.
_ON_ANY_GPU = ("ollama", "llama.cpp")


@check()
def memory_limit_low(compose: Compose, gpus: Gpus | Unavailable, amd: Amd | Unavailable,
                     containers: Containers | Unavailable, serving: Serving | Unavailable) -> Iterator[Finding]:
    """Compare the limit with what fit says of the host."""
    nvidia = msgspec.structs.replace(Snapshot(), gpus=gpus)
    radeon = msgspec.structs.replace(Snapshot(), amd=amd)
    for service in compose.services:
        limit, question = service.memory_limit_bytes, asked(service)
        if limit is None:
            yield skipped(service.subject, "has no memory limit")
            continue
        made_for = vendor(service)
        if question is not None and made_for == "amd" and question.settings.engine not in _ON_ANY_GPU:
            yield skipped(service.subject, "what {engine} takes of main memory on AMD GPUs has no source",
                          engine=question.settings.engine)
            continue
        if question is not None and question.settings.engine == "ollama" and question.model is None:
            models = ollama_models(service, compose, containers, serving)
            question = question._replace(model=models.names[0]) if models is not None else question
        used = radeons(service, amd) if made_for == "amd" else given(service, gpus).used
        load = load_of(question, used, radeon if made_for == "amd" else nvidia) if question is not None and used \
            else None
        if load is None or not load.host_bytes:
            yield skipped(service.subject, "what it needs of main memory is not known: {reason}",
                          reason=_reason(question, used, load))
            continue
        yield _judge(service, limit, load)


def _reason(question: Asked | None, used: tuple[int, ...] | None, load: Load | None) -> str:
    if question is None:
        return "it runs no engine that fit knows"
    if not used:
        return "on which GPUs it runs is not known, or it has none"
    return (load.problem if load is not None else None) or "its model cannot be looked at from here"


def _judge(service: Service, limit: int, load: Load) -> Finding:
    key = "mem_limit" if "mem_limit" in service.places else "deploy.resources.limits.memory"
    place = service.place_of(key)
    needed = load.host_bytes or 0
    seen = (saw("memory limit bytes", limit, place.file), saw("needed bytes", needed, "gpudoctor fit"))
    if limit < needed:
        return at(place, failed(
            service.subject, "may use {limit:bytes} of main memory, and loading {model} takes {needed:bytes}",
            limit=limit, model=load.model, needed=needed, evidence=seen,
            fix=step("Raise the limit above that, or remove it.")))
    return passed(service.subject, "may use {limit:bytes} of main memory: enough for {model}", limit=limit,
                  model=load.model, evidence=seen)
