"""What a plan has to say, as findings under the ids of the checks that say the same of a machine."""

from collections.abc import Iterator

import msgspec

from gpudoctor.checking.finding import (
    STATUSES,
    Finding,
    Location,
    Result,
    Step,
    failed,
    noted,
    passed,
    saw,
    step,
    unknown,
    warned,
)  # fmt: skip
from gpudoctor.plan.answer import Placed, Plan
from gpudoctor.plan.conflicts import Conflict
from gpudoctor.plan.service import PARALLEL, RUNNING, Service

_SOURCE = "gpudoctor plan"


def results(plan: Plan) -> tuple[Result, ...]:
    """Return every finding, the worst first."""
    found = [
        *_conflicts(plan), *_alone(plan), *_nowhere(plan), *_unverified(plan), *_unknown(plan), *_shares(plan),
        *_shorter(plan), *_in_turn(plan), *_links(plan), *_held(plan), *_host(plan), *_order(plan), *_search(plan),
    ]  # fmt: skip
    if not any(result.status in ("fail", "unknown") for result in found):
        count = len(plan.services)
        found.append(_result("compose.overcommit", passed(
            "host", "all {count} services fit together", count=count,
            evidence=tuple(saw(f"left on GPU {n} bytes", left, _SOURCE) for n, left in _left(plan)))))
    return tuple(sorted(found, key=lambda result: STATUSES.index(result.status)))


def _result(check: str, finding: Finding, service: Service | None = None) -> Result:
    if service is not None and service.origin.file != RUNNING:
        place = service.origin
        finding = msgspec.structs.replace(finding, location=Location(place.file, place.line, place.column))
    return Result(id=check, finding=finding)


def _left(plan: Plan) -> Iterator[tuple[int, int]]:
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
        words.append(f"context {settings.context}")
    elif choice.flavour.context is not None:
        words.append(f"context {choice.flavour.context}")
    return ", ".join(words)


def _ways_out(plan: Plan, names: set[str]) -> tuple[Step, ...]:
    placed = [each for each in plan.services if each.service.name in names and each.choice is not None]
    steps = tuple(
        step("Write for {service}: {words}.", service=each.service.name, words=to_write(each)) for each in placed
    )
    return steps or (step("Give each its own GPUs, or smaller models."),)


def _conflicts(plan: Plan) -> Iterator[Result]:
    told: set[tuple[str, ...]] = set()
    for each in plan.written.conflicts:
        names = tuple(holder.service.name for holder in each.holders)
        if names in told:
            continue
        told.add(names)
        yield _result("compose.overcommit", _conflict(plan, each, names), each.last.service)


def _conflict(plan: Plan, each: Conflict, names: tuple[str, ...]) -> Finding:
    parts = tuple(f"{holder.service.name}: {holder.bytes / 2**30:.1f} GiB" for holder in each.holders)
    evidence = (saw("services on the GPU as written", parts, _SOURCE), saw("needed bytes", each.need, _SOURCE),
                saw("there are bytes", each.room, "NVML"))
    last = each.last.service
    if each.need <= each.room:
        return warned(
            last.subject, "GPU {gpu} as written: {names} need {need:bytes} of {room:bytes}, with less to spare than "
            "engines and CUDA contexts may want", gpu=each.gpu, names=names, need=each.need, room=each.room,
            evidence=evidence, fix=_ways_out(plan, {*names}))
    if len(names) == 1:
        message = "GPU {gpu} as written: {last} needs {wanted:bytes}, and {left:bytes} are free"
    elif last.takes_share:
        message = ("GPU {gpu} as written: {names} need {need:bytes} of {room:bytes}. Who starts last loses: {last} "
                   "takes its share of the whole GPU, {wanted:bytes}; after the others it finds {left:bytes} and stops")
    elif last.engine == "ollama":
        message = ("GPU {gpu} as written: {names} need {need:bytes} of {room:bytes}. Who starts last loses: {last} "
                   "finds {left:bytes} of {wanted:bytes} and puts layers on the CPU without saying so")
    else:
        message = ("GPU {gpu} as written: {names} need {need:bytes} of {room:bytes}. Who starts last loses: {last} "
                   "finds {left:bytes} of {wanted:bytes} and runs out of memory")
    return failed(last.subject, message, gpu=each.gpu, names=names, need=each.need, room=each.room, last=last.name,
                  wanted=each.last.bytes, left=each.left, evidence=evidence,
                  fix=_ways_out(plan, {*names}))


def _alone(plan: Plan) -> Iterator[Result]:
    by_name = {each.service.name: each for each in plan.services}
    for service in plan.written.alone:
        placed = by_name[service.name]
        if placed.choice is None:
            continue
        yield _result("compose.overcommit", failed(
            service.subject, "does not run on GPU {gpus} as written, even alone", gpus=service.written,
            fix=_ways_out(plan, {service.name})), service)


def _nowhere(plan: Plan) -> Iterator[Result]:
    for placed in plan.services:
        service, answer = placed.service, placed.unfit
        if placed.choice is not None or placed.unknown:
            continue
        refused = next((r for r in answer.reasons if r.status == "fail"), None) if answer is not None else None
        if answer is not None and refused is not None and answer.prediction.verdict == "cannot-run":
            steps = tuple(Step(text, command) for text, command in refused.steps) or _larger()
            yield _result(refused.check, Finding(status="fail", subject=service.subject, message=refused.message,
                                                 params=dict(refused.params), fix=steps), service)
            continue
        yield _result("model.too-big", _too_large(plan, placed), service)


def _too_large(plan: Plan, placed: Placed) -> Finding:
    service, answer = placed.service, placed.unfit
    steps = [*_unpinned(plan, placed), *_advice(placed)] or list(_larger())
    emptiest = max(left for _, left in _left(plan))
    if answer is None or answer.prediction.verdict == "fits":
        needs = () if answer is None else tuple(need.least or 0 for need in answer.prediction.gpus)
        needed = service.memory_bytes or max(needs, default=0)
        message = "fits nowhere beside the others: it needs {needed:bytes} of a GPU, the emptiest has {left:bytes} left"
        if answer is not None and not list(_unpinned(plan, placed)):
            steps = [step("Give the machine one more GPU with {needed:bytes} free, or let this service have a smaller "
                          "model or a shorter context.")]
        return failed(service.subject, message, needed=needed, left=emptiest, fix=steps)
    prediction, model = answer.prediction, answer.question.model
    if prediction.verdict == "partial":
        return failed(
            service.subject, "does not fit even alone: {weights:bytes} of weights, and the {count} GPUs it may use "
            "have {room:bytes} together", weights=model.weights_bytes, count=len(answer.question.hardware.gpus),
            room=sum(gpu.free_bytes for gpu in answer.question.hardware.gpus), fix=steps)
    return failed(service.subject, "does not fit even alone: {needed:bytes} on its fullest GPU, of {room:bytes}",
                  needed=max((need.least or 0 for need in prediction.gpus), default=0), fix=steps,
                  room=max(gpu.free_bytes for gpu in answer.question.hardware.gpus))


def _unpinned(plan: Plan, placed: Placed) -> Iterator[Step]:
    if plan.unpinned is None:
        return
    known = [each.service.name for each in plan.services if not each.unknown]
    choice = plan.unpinned.choices[known.index(placed.service.name)]
    if choice is not None:
        yield step("Let services move: without the GPUs written for them, it goes on GPU {there}.", there=choice.gpus)


def _larger() -> tuple[Step, ...]:
    return (step("Use a GPU with more memory, or one more GPU."),)


def _advice(placed: Placed) -> Iterator[Step]:
    if placed.unfit is None:
        return
    for advice in placed.unfit.advice[:3]:
        text = advice.text[:1].upper() + advice.text[1:] if not advice.text.startswith("{") else advice.text
        yield Step(text + ".", params=dict(advice.params))


def _unverified(plan: Plan) -> Iterator[Result]:
    """Say so where fit does not agree with the plan, once the others are there."""
    for placed in plan.services:
        prediction = placed.prediction
        if prediction is None or prediction.verdict == "fits":
            continue
        yield _result("compose.overcommit", failed(
            placed.service.subject, "does not fit on GPU {gpus} beside the others: fit says {verdict}",
            gpus=placed.choice.gpus if placed.choice else (), verdict=prediction.verdict,
            fix=step("Give it GPUs of its own, or a shorter context.")), placed.service)


def _unknown(plan: Plan) -> Iterator[Result]:
    for placed in plan.services:
        service = placed.service
        if service.problem is None:
            continue
        fix = step("Say it in a file beside: [[service]] name = \"{name}\", model = \"...\" (or memory = \"8GiB\").",
                   "gpudoctor plan {file} more.toml", name=service.name, file=service.origin.file)
        if service.origin.file == RUNNING:
            fix = step("Write what it is into a plan's file: [[service]] name = \"{name}\", model = \"...\".",
                       name=service.name)
        message = "how much memory it takes is not known: {problem}"
        if service.share is not None:
            message = "takes {share} of GPU {gpus} whatever its model; whether that is enough is not known: {problem}"
        yield _result("model.too-big", unknown(service.subject, message, problem=service.problem, share=service.share,
                                               gpus=service.written, fix=fix), service)


def _shares(plan: Plan) -> Iterator[Result]:
    """Say how engines that take a share live with others, and that the order does not matter."""
    for gpu in plan.hardware.gpus:
        here = [each for each in plan.services if gpu.number in claims_of(each)]
        sharers = [each for each in here if each.service.takes_share]
        if len(here) < 2 or not sharers:
            continue
        others = tuple(each.service.name for each in here)
        figures = tuple(f"{each.service.name}: {each.prediction.settings.gpu_memory_utilization:g}" for each in sharers
                        if each.prediction is not None)
        if any(each.service.engine == "sglang" for each in sharers):
            yield _result("compose.overcommit", warned(
                f"gpu:{gpu.number}", "{names} share it, and SGLang takes its share of what is free when it starts: the "
                "figures {figures} hold only if it starts first", names=others, figures=figures,
                fix=step("Start SGLang before the others (depends_on), or fix its cache with --max-total-tokens.")))
            continue
        yield _result("compose.overcommit", noted(
            f"gpu:{gpu.number}", "{names} share it; with the shares {figures} they start in any order: vLLM counts its "
            "share of the whole GPU, and what the others hold lies outside of it", names=others, figures=figures))


def _shorter(plan: Plan) -> Iterator[Result]:
    for placed in plan.services:
        choice = placed.choice
        if choice is None:
            continue
        if choice.flavour.steps and choice.flavour.context:
            yield _result("serving.context-default", warned(
                placed.service.subject, "only with a shorter context does everything fit: {context} tokens instead of "
                "the engine's default", context=choice.flavour.context,
                fix=step("Write that context, or give it more memory.")), placed.service)
        elif choice.flavour.lowered:
            yield _result("compose.overcommit", noted(
                placed.service.subject, "its share has to become {share} instead of {written}",
                share=_share(placed), written=placed.service.settings.gpu_memory_utilization), placed.service)


def _share(placed: Placed) -> float | None:
    return placed.prediction.settings.gpu_memory_utilization if placed.prediction is not None else None


def _in_turn(plan: Plan) -> Iterator[Result]:
    for placed in plan.services:
        service, choice = placed.service, placed.choice
        if service.engine != "ollama" or choice is None:
            continue
        several = len(service.models) > 1
        if several and (choice.flavour.in_turn or (service.max_loaded or 64) < len(service.models)):
            yield _result("serving.queueing", warned(
                service.subject, "{models} do not stay in memory together: the plan counts the largest; each change "
                "unloads one and loads the other from disk", models=service.models, fix=(
                    step("Keep each on GPUs of its own, or accept the wait; OLLAMA_KEEP_ALIVE does not help where "
                         "both do not fit."),)), service)
        elif several:
            yield _result("serving.queueing", noted(
                service.subject, "{models} stay in memory together", models=service.models), service)
        sharers = [each.service.name for each in plan.services
                   if each is not placed and claims_of(each).keys() & claims_of(placed).keys()]
        if sharers:
            yield _result("serving.queueing", noted(
                service.subject, "unloads idle models after five minutes (OLLAMA_KEEP_ALIVE): what is free then on GPU "
                "{gpus} is still set aside for it, do not give it to {others}", gpus=tuple(claims_of(placed)),
                others=tuple(sharers)), service)


def _links(plan: Plan) -> Iterator[Result]:
    gpus = {gpu.number: gpu for gpu in plan.hardware.gpus}
    for placed in plan.services:
        chosen = sorted(claims_of(placed))
        if len(chosen) < 2 or placed.service.engine not in PARALLEL:
            continue
        apart = tuple(n for n in chosen if not {*chosen} - {n} <= {*(gpus[n].peers or ())})
        if not apart and gpus[chosen[0]].peers is not None:
            yield _result("gpu.no-nvlink", passed(placed.service.subject, "its GPUs {gpus} are joined by NVLink",
                                                  gpus=tuple(chosen)))
        elif any(gpu.peers for gpu in gpus.values()) or plan.hardware.link == "pcie" or not gpus[chosen[0]].nvlink:
            yield _result("gpu.no-nvlink", noted(
                placed.service.subject, "its GPUs {gpus} are not joined by NVLink: tensor parallel runs over PCIe",
                gpus=tuple(chosen)))
        if len({gpus[n].numa_node for n in chosen if gpus[n].numa_node is not None}) > 1:
            yield _result("gpu.far-apart", noted(
                placed.service.subject, "its GPUs {gpus} belong to several CPU sockets", gpus=tuple(chosen)))


def _held(plan: Plan) -> Iterator[Result]:
    for gpu in plan.hardware.gpus:
        if gpu.holders:
            names = tuple(f"{holder.name} (pid {holder.pid})" for holder in gpu.holders[:8])
            yield _result("gpu.memory-in-use", noted(
                f"gpu:{gpu.number}", "{held:bytes} are not the plan's to give: {names}",
                held=gpu.usable_bytes - gpu.free_bytes, names=names))


def _host(plan: Plan) -> Iterator[Result]:
    have = plan.hardware.host_free_bytes
    need = max((each.prediction.host_bytes or 0 for each in plan.services if each.prediction is not None), default=0)
    if have is not None and need > have:
        yield _result("host.ram-short", warned(
            "host", "loading the largest service takes {need:bytes} of host memory, {have:bytes} are free", need=need,
            have=have, fix=step("Start the services one after another, or free host memory.")))


def _order(plan: Plan) -> Iterator[Result]:
    kinds = tuple(dict.fromkeys(gpu.name for gpu in plan.hardware.gpus))
    if len(kinds) > 1 and all(gpu.vendor == "nvidia" for gpu in plan.hardware.gpus):
        yield _result("gpu.mixed-kinds", noted(
            "host", "{kinds}: device_ids go by slot, as nvidia-smi does; CUDA outside of containers numbers the "
            "fastest first", kinds=kinds, fix=step("Number them by slot.", "export CUDA_DEVICE_ORDER=PCI_BUS_ID")))


def _search(plan: Plan) -> Iterator[Result]:
    if not plan.placement.exact:
        yield _result("compose.overcommit", noted(
            "host", "this is the best placement of {steps} looked at, not proved the best of all",
            steps=plan.placement.steps))
