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
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.composed import asked, at, given
from gpudoctor.judging.composed_fit import load_of


@check()
def memory_limit_low(compose: Compose, gpus: Gpus | Unavailable) -> Iterator[Finding]:
    """Compare the limit with what fit says of the host."""
    machine = msgspec.structs.replace(Snapshot(), gpus=gpus)
    for service in compose.services:
        limit, question = service.memory_limit_bytes, asked(service)
        if limit is None:
            yield skipped(service.subject, "has no memory limit")
            continue
        used = given(service, gpus).used
        load = load_of(question, used, machine) if question is not None and used else None
        if load is None or not load.host_bytes:
            yield skipped(service.subject, "what it needs of main memory is not known")
            continue
        key = "mem_limit" if "mem_limit" in service.places else "deploy.resources.limits.memory"
        place = service.place_of(key)
        seen = (saw("memory limit bytes", limit, place.file), saw("needed bytes", load.host_bytes, "gpudoctor fit"))
        if limit < load.host_bytes:
            yield at(place, failed(
                service.subject, "may use {limit:bytes} of main memory, and loading {model} takes {needed:bytes}",
                limit=limit, model=load.model, needed=load.host_bytes, evidence=seen,
                fix=step("Raise the limit above that, or remove it.")))
        else:
            yield passed(service.subject, "may use {limit:bytes} of main memory: enough for {model}", limit=limit,
                         model=load.model, evidence=seen)
