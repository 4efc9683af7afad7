"""What a plan has to say, as findings under the ids of the checks that say the same of a machine."""

from collections.abc import Iterator

from gpudoctor.checking.finding import STATUSES, Result, noted, passed, saw, step, warned
from gpudoctor.plan.answer import Placed, Plan
from gpudoctor.plan.faults import faults
from gpudoctor.plan.saying import SOURCE, claims_of, left, result_of
from gpudoctor.plan.service import PARALLEL, RUNNING


def results(plan: Plan) -> tuple[Result, ...]:
    """Return every finding, the worst first."""
    found = [
        *faults(plan), *_shares(plan),
        *_shorter(plan), *_in_turn(plan), *_last(plan), *_links(plan), *_held(plan), *_host(plan), *_order(plan),
        *_search(plan),
    ]  # fmt: skip
    if not any(result.status in ("fail", "unknown") for result in found):
        count = len(plan.services)
        found.append(result_of("compose.overcommit", passed(
            "host", "all {count} services fit together", count=count,
            evidence=tuple(saw(f"left on GPU {n} bytes", free, SOURCE) for n, free in left(plan)))))
    return tuple(sorted(found, key=lambda result: STATUSES.index(result.status)))


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
        capped = [each for each in sharers if each.service.engine == "sglang"]
        if capped and all(each.max_tokens for each in capped):
            yield result_of("compose.overcommit", noted(
                f"gpu:{gpu.number}", "{names} share it; with {figures} and --max-total-tokens for SGLang they start in "
                "any order: its share is of what is free when it starts, the tokens bound its cache", names=others,
                figures=figures))
            continue
        if capped:
            yield result_of("compose.overcommit", warned(
                f"gpu:{gpu.number}", "{names} share it, and SGLang takes its share of what is free when it starts: the "
                "figures {figures} hold only if it starts first", names=others, figures=figures,
                fix=step("Start SGLang before the others (depends_on), or fix its cache with --max-total-tokens.")))
            continue
        yield result_of("compose.overcommit", noted(
            f"gpu:{gpu.number}", "{names} share it; with the shares {figures} they start in any order: vLLM counts its "
            "share of the whole GPU, and what the others hold lies outside of it", names=others, figures=figures))


def _shorter(plan: Plan) -> Iterator[Result]:
    for placed in plan.services:
        choice = placed.choice
        if choice is None:
            continue
        if choice.flavour.steps and choice.flavour.context:
            yield result_of("serving.context-default", warned(
                placed.service.subject, "only with a shorter context does everything fit: {context} tokens instead of "
                "the engine's default", context=choice.flavour.context,
                fix=step("Write that context, or give it more memory.")), placed.service)
        elif choice.flavour.lowered:
            yield result_of("compose.overcommit", noted(
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
            yield result_of("serving.queueing", warned(
                service.subject, "{models} do not stay in memory together: the plan counts the largest; each change "
                "unloads one and loads the other from disk", models=service.models, fix=(
                    step("Keep each on GPUs of its own, or accept the wait; OLLAMA_KEEP_ALIVE does not help where "
                         "both do not fit."),)), service)
        elif several:
            yield result_of("serving.queueing", noted(
                service.subject, "{models} stay in memory together", models=service.models), service)
        sharers = [each.service.name for each in plan.services
                   if each is not placed and claims_of(each).keys() & claims_of(placed).keys()]
        if sharers:
            yield result_of("serving.queueing", noted(
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
            yield result_of("gpu.no-nvlink", passed(placed.service.subject, "its GPUs {gpus} are joined by NVLink",
                                                  gpus=tuple(chosen)))
        elif any(gpu.peers for gpu in gpus.values()) or plan.hardware.link == "pcie" or not gpus[chosen[0]].nvlink:
            yield result_of("gpu.no-nvlink", noted(
                placed.service.subject, "its GPUs {gpus} are not joined by NVLink: tensor parallel runs over PCIe",
                gpus=tuple(chosen)))
        if len({gpus[n].numa_node for n in chosen if gpus[n].numa_node is not None}) > 1:
            yield result_of("gpu.far-apart", noted(
                placed.service.subject, "its GPUs {gpus} belong to several CPU sockets", gpus=tuple(chosen)))


def _held(plan: Plan) -> Iterator[Result]:
    for gpu in plan.hardware.gpus:
        if gpu.holders:
            names = tuple(f"{holder.name} (pid {holder.pid})" for holder in gpu.holders[:8])
            yield result_of("gpu.memory-in-use", noted(
                f"gpu:{gpu.number}", "{held:bytes} are not the plan's to give: {names}",
                held=gpu.usable_bytes - gpu.free_bytes, names=names))


def _last(plan: Plan) -> Iterator[Result]:
    """Say who has to start after the others, because it divides itself by what they leave."""
    for placed in plan.services:
        if placed.choice is None or not placed.choice.flavour.beside:
            continue
        gpus = {*claims_of(placed)}
        others = tuple(each.service.name for each in plan.services if each is not placed and gpus & {*claims_of(each)})
        yield result_of("compose.overcommit", warned(
            placed.service.subject, "fits on GPU {gpus} only after {others}: loaded first it spreads evenly and leaves "
            "them too little", gpus=tuple(sorted(gpus)), others=others,
            fix=step("Start {others} first (depends_on), and load its model when they are there.", others=others)),
            placed.service)


def _host(plan: Plan) -> Iterator[Result]:
    """Compare what all services hold of the host's memory; those that run now hold theirs already."""
    running = all(each.service.origin.file == RUNNING for each in plan.services)
    have = plan.hardware.host_total_bytes if running else plan.hardware.host_free_bytes
    parts = {each.service.name: size for each in plan.services if (size := _host_bytes(each))}
    need = sum(parts.values())
    if have is None or need <= have or not parts:
        return
    listed = tuple(f"{name}: {size / 2**30:.1f} GiB" for name, size in parts.items())
    steps = [step("Give the machine more memory, or leave out layers that lie on the CPU.")]
    if max(parts.values()) <= have:
        steps = [step("Start the services one after another, or free host memory: what loading alone takes is given "
                      "back afterwards.")]
    message = "the services take {need:bytes} of host memory together, {have:bytes} are free"
    if running:
        message = "the services take {need:bytes} of host memory together, the machine has {have:bytes}"
    yield result_of("host.ram-short", warned("host", message, need=need, have=have, fix=tuple(steps),
                                           evidence=saw("host memory", listed, SOURCE)))


def _host_bytes(placed: Placed) -> int:
    """Return what a service takes of the host's memory, 0 where that is not known."""
    if placed.choice is None:
        return 0
    if placed.prediction is not None:
        return placed.prediction.host_bytes or 0
    sizes = [each.host_bytes or 0 for each in placed.choice.load.predictions]
    return max(sizes, default=0) if placed.choice.flavour.in_turn else sum(sizes)


def _order(plan: Plan) -> Iterator[Result]:
    kinds = tuple(dict.fromkeys(gpu.name for gpu in plan.hardware.gpus))
    if len(kinds) > 1 and all(gpu.vendor == "nvidia" for gpu in plan.hardware.gpus):
        yield result_of("gpu.mixed-kinds", noted(
            "host", "{kinds}: device_ids go by slot, as nvidia-smi does; CUDA outside of containers numbers the "
            "fastest first", kinds=kinds, fix=step("Number them by slot.", "export CUDA_DEVICE_ORDER=PCI_BUS_ID")))


def _search(plan: Plan) -> Iterator[Result]:
    if not plan.placement.exact:
        yield result_of("compose.overcommit", noted(
            "host", "this is the best placement of {steps} looked at, not proved the best of all",
            steps=plan.placement.steps))
