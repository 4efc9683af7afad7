"""The Plan JSON document (``gpudoctor.plan/1``) as types, and how a plan becomes one. Sizes are bytes."""

from typing import Literal

import msgspec

from gpudoctor.fit.prediction import Need
from gpudoctor.plan.answer import Placed, Plan
from gpudoctor.plan.findings import results
from gpudoctor.plan.saying import claims_of, to_write
from gpudoctor.reports.report import ReportResult, ReportTool, show

Verdict = Literal["fits", "conflict", "does-not-fit", "unknown"]


class PlanPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the document."""


class PlanNeed(PlanPart, frozen=True, kw_only=True):
    """What a service holds of one GPU; a term is null where nobody knows how the total divides.

    ``kept_bytes`` the engine wants to see free beside it. For engines that take a share ``kv_cache`` is what is left
    for it.
    """

    gpu: int
    required_bytes: int
    kept_bytes: int
    weights: int | None
    kv_cache: int | None
    compute: int | None
    overhead: int | None


class PlanService(PlanPart, frozen=True, kw_only=True):
    """A service: what was asked, where it goes and what to write. ``device_ids`` are null where it goes nowhere.

    ``source`` says where its size comes from. ``changed``: its GPUs or share differ from what is written.
    """

    name: str
    file: str
    line: int
    engine: str | None
    version: str | None
    kind: str | None
    models: tuple[str, ...]
    verdict: Literal["placed", "does-not-fit", "unknown"]
    source: str
    written_device_ids: tuple[int, ...] | None
    device_ids: tuple[int, ...] | None
    changed: bool
    context: int | None
    largest_context: int | None
    gpu_memory_utilization: float | None
    tensor_parallel: int | None
    needs: tuple[PlanNeed, ...]
    write: str
    why: tuple[str, ...]
    command: str | None
    compose: str | None


class PlanGpu(PlanPart, frozen=True, kw_only=True):
    """The budget of one GPU.

    ``reserve_bytes`` stay free: what engines want to see free, and the contexts' uncertainty where several share it.

    ``other_bytes`` is held by processes outside of the plan, or kept back with ``--reserve``.
    """

    index: int
    name: str
    total_bytes: int
    driver_bytes: int
    other_bytes: int
    reserve_bytes: int
    required_bytes: int
    left_bytes: int
    services: tuple[str, ...]
    unknown: tuple[str, ...]
    numa_node: int | None
    linked: tuple[int, ...] | None


class PlanSearch(PlanPart, frozen=True, kw_only=True):
    """How the placement was found; ``exact``: no other is better, far larger sets of GPUs aside."""

    exact: bool
    steps: int


class PlanMachine(PlanPart, frozen=True, kw_only=True):
    """Whose GPUs they are."""

    name: str
    driver: str | None
    assumed: tuple[str, ...]


class PlanDocument(PlanPart, frozen=True, kw_only=True):
    """The whole answer of ``gpudoctor plan --json``."""

    schema: Literal["gpudoctor.plan/1"] = "gpudoctor.plan/1"
    tool: ReportTool
    verdict: Verdict
    exit_code: Literal[0, 1, 3]
    machine: PlanMachine
    services: tuple[PlanService, ...]
    gpus: tuple[PlanGpu, ...]
    search: PlanSearch
    findings: tuple[ReportResult, ...]


def document(plan: Plan, machine: str) -> PlanDocument:
    """Put a plan into its document."""
    from gpudoctor import __version__
    from gpudoctor.matrices.table import date_in_use

    found = results(plan)
    failing = {result.status for result in found}
    left_out = any(each.choice is None and not each.unknown for each in plan.services)
    verdict: Verdict = "fits"
    if "fail" in failing:
        verdict = "does-not-fit" if left_out else "conflict"
    elif "unknown" in failing:
        verdict = "unknown"
    return PlanDocument(
        tool=ReportTool(__version__, date_in_use()),
        verdict=verdict,
        exit_code=1 if verdict in ("conflict", "does-not-fit") else 3 if verdict == "unknown" else 0,
        machine=PlanMachine(name=machine, driver=plan.hardware.driver, assumed=plan.hardware.assumed),
        services=tuple(_service(each) for each in plan.services),
        gpus=_gpus(plan),
        search=PlanSearch(exact=plan.placement.exact, steps=plan.placement.steps),
        findings=tuple(show(result) for result in found),
    )


def _service(placed: Placed) -> PlanService:
    service, choice, prediction = placed.service, placed.choice, placed.prediction
    settings = prediction.settings if prediction is not None else None
    launch = None
    if settings is not None and placed.question is not None and prediction is not None:
        from gpudoctor.fit.launch import launch as lines

        # The share and context of the plan are part of what is written.
        asked = placed.question.settings._replace(context=settings.context)
        capped = ("--max-total-tokens", str(placed.max_tokens)) if placed.max_tokens else ()
        launch = lines(placed.question._replace(settings=asked), prediction, capped)
    ids = choice.gpus if choice is not None else None
    return PlanService(
        name=service.name,
        file=service.origin.file,
        line=service.origin.line,
        engine=service.engine,
        version=service.settings.version,
        kind=service.kind,
        models=service.models,
        verdict=_verdict(placed),
        source=_source(placed),
        written_device_ids=service.written,
        device_ids=ids,
        changed=placed.moved or bool(choice and choice.flavour.lowered),
        context=settings.context if settings else None,
        largest_context=placed.most_context,
        gpu_memory_utilization=settings.gpu_memory_utilization if settings and service.takes_share else None,
        tensor_parallel=settings.tensor_parallel if settings else None,
        needs=tuple(_need(n, need, claims_of(placed).get(n, 0)) for n, need in placed.needs()),
        write=to_write(placed),
        why=_why(placed),
        command=launch.command if launch else None,
        compose=launch.compose if launch else None,
    )


def _verdict(placed: Placed) -> Literal["placed", "does-not-fit", "unknown"]:
    if placed.unknown or placed.service.share is not None:
        return "unknown"
    return "does-not-fit" if placed.choice is None else "placed"


def _need(gpu: int, need: Need, claim: int) -> PlanNeed:
    required = need.total or 0
    return PlanNeed(gpu=gpu, required_bytes=required, kept_bytes=max(claim - required, 0), weights=need.weights,
                    kv_cache=need.kv_cache, compute=need.compute, overhead=need.overhead)


def _source(placed: Placed) -> str:
    from gpudoctor.matrices import service_kinds

    service = placed.service
    if placed.unknown:
        return service.problem or "not known"
    if service.share is not None:
        return f"its share, {service.share:g}; {service.problem}"
    if service.measured:
        return "measured now"
    if service.memory_bytes is not None:
        return "its owner says so"
    row = service_kinds.size(service.kind, service.models[0]) if service.kind and service.models else None
    if row is not None:
        found = service_kinds.table().source(row.source)
        return f"{found.url}{f' ({row.note})' if row.note else ''}"
    return "gpudoctor fit"


def _why(placed: Placed) -> tuple[str, ...]:
    service, choice = placed.service, placed.choice
    if choice is None:
        return ()
    chosen, written = ", ".join(map(str, choice.gpus)), service.written
    why = []
    if service.pinned:
        why.append(f"GPU {chosen} is written for it, and stays")
    elif written is not None and not placed.moved:
        why.append(f"GPU {chosen} is where it is written")
    elif written is not None:
        why.append(f"moved from GPU {', '.join(map(str, written))}: it fits on {chosen}, and fewer moves do not do")
    elif len(choice.gpus) == 1:
        why.append(f"one GPU holds it; {chosen} leaves the others the most room")
    else:
        why.append(f"the fewest GPUs that hold it are {len(choice.gpus)}: {chosen}")
    if choice.flavour.lowered:
        why.append("the share that is written leaves the others too little")
    if choice.flavour.steps:
        why.append(f"a context of {choice.flavour.context} is the longest with which everything fits")
    if placed.prediction is not None:
        why += [f"{term.what}: {term.value_bytes / 2**30:.2f} GiB = {term.formula} [{term.source}]"
                for term in placed.prediction.terms if term.value_bytes is not None]
        why += [f"assumed: {text}" for text in placed.question.assumed] if placed.question else []
    return tuple(why)


def _gpus(plan: Plan) -> tuple[PlanGpu, ...]:
    from gpudoctor.plan.needs import RESERVE_BYTES

    found = []
    needs = {each.service.name: {n: need.total or 0 for n, need in each.needs()} for each in plan.services}
    for gpu in plan.hardware.gpus:
        claims = {each.service.name: c for each in plan.services if (c := claims_of(each).get(gpu.number))}
        unknown = tuple(each.service.name for each in plan.services
                        if each.unknown and gpu.number in (each.service.written or ()))
        taken = {name: needs[name].get(gpu.number, 0) for name in claims}
        reserve = sum(max(claim - taken[name], 0) for name, claim in claims.items())
        reserve += RESERVE_BYTES * len(claims) if len(claims) > 1 else 0
        required = sum(taken.values())
        found.append(PlanGpu(
            index=gpu.number, name=gpu.name, total_bytes=gpu.total_bytes,
            driver_bytes=gpu.total_bytes - gpu.usable_bytes,
            other_bytes=gpu.usable_bytes - gpu.free_bytes, reserve_bytes=reserve, required_bytes=required,
            left_bytes=gpu.free_bytes - required - reserve, services=tuple(claims), unknown=unknown,
            numa_node=gpu.numa_node, linked=gpu.peers,
        ))  # fmt: skip
    return tuple(found)
