"""What findings of a plan share: where they point to, what a service is given, what to write for it."""

from collections.abc import Iterator

import msgspec

from gpudoctor.checking.finding import Finding, Location, Result, Step, step
from gpudoctor.plan.answer import Placed, Plan
from gpudoctor.plan.service import RUNNING, Service

SOURCE = "gpudoctor plan"


def result_of(check: str, finding: Finding, service: Service | None = None) -> Result:
    """Return a finding under its id, with the place of the service that it is about."""
    if service is not None and service.origin.file != RUNNING:
        place = service.origin
        finding = msgspec.structs.replace(finding, location=Location(place.file, place.line, place.column))
    return Result(id=check, finding=finding)


def left(plan: Plan) -> Iterator[tuple[int, int]]:
    """Yield each GPU with the bytes that no service of the plan is given."""
    for gpu in plan.hardware.gpus:
        used = sum(claims.get(gpu.number, 0) for claims in (claims_of(each) for each in plan.services))
        yield gpu.number, gpu.free_bytes - used


def claims_of(placed: Placed) -> dict[int, int]:
    """Return the bytes that a service is given on each GPU."""
    choice = placed.choice
    return {} if choice is None else {n: c for n, c in zip(choice.gpus, choice.claims, strict=True) if c}


def to_write(placed: Placed) -> str:
    """Return what a placed service should say, in one line: ``device_ids 0,1``, its share, its context."""
    choice = placed.choice
    if choice is None:
        return "-"
    words = [f"GPU {','.join(map(str, choice.gpus))}"]
    if placed.prediction is not None:
        settings = placed.prediction.settings
        if placed.service.takes_share and settings.gpu_memory_utilization:
            flag = "--mem-fraction-static" if placed.service.engine == "sglang" else "--gpu-memory-utilization"
            words.append(f"{flag} {settings.gpu_memory_utilization:g}")
            if placed.max_tokens:
                words.append(f"--max-total-tokens {placed.max_tokens}")
        words.append(f"context {settings.context}")
    elif choice.flavour.context is not None:
        words.append(f"context {choice.flavour.context}")
    return ", ".join(words)


def ways_out(plan: Plan, names: set[str]) -> tuple[Step, ...]:
    """Return what to write for these services, or the one thing to say where none has a place."""
    placed = [each for each in plan.services if each.service.name in names and each.choice is not None]
    steps = tuple(
        step("Write for {service}: {words}.", service=each.service.name, words=to_write(each)) for each in placed
    )
    return steps or (step("Give each its own GPUs, or smaller models."),)
