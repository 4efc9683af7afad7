"""What is wrong with a plan: services that starve each other, fit nowhere, or are of unknown size."""

from collections.abc import Iterator

from gpudoctor.checking.finding import Finding, Result, Step, failed, saw, step, unknown, warned
from gpudoctor.plan.answer import Placed, Plan
from gpudoctor.plan.conflicts import Conflict
from gpudoctor.plan.saying import SOURCE, left, result_of, ways_out
from gpudoctor.plan.service import RUNNING
from gpudoctor.plan.shares import share_beside


def faults(plan: Plan) -> Iterator[Result]:
    """Yield everything that keeps services from running as they are written."""
    yield from _conflicts(plan)
    yield from _alone(plan)
    yield from _nowhere(plan)
    yield from _unverified(plan)
    yield from _unknown(plan)


def _conflicts(plan: Plan) -> Iterator[Result]:
    told: set[tuple[str, ...]] = set()
    for each in plan.written.conflicts:
        names = tuple(holder.service.name for holder in each.holders)
        if names in told:
            continue
        told.add(names)
        yield result_of("compose.overcommit", _conflict(plan, each, names), each.last.service)


def _conflict(plan: Plan, each: Conflict, names: tuple[str, ...]) -> Finding:
    parts = tuple(f"{holder.service.name}: {holder.bytes / 2**30:.1f} GiB" for holder in each.holders)
    evidence = (saw("services on the GPU as written", parts, SOURCE), saw("needed bytes", each.need, SOURCE),
                saw("there are bytes", each.room, "NVML"))
    last = each.last.service
    if each.need <= each.room:
        return warned(
            last.subject, "GPU {gpu} as written: {names} need {need:bytes} of {room:bytes}, with less to spare than "
            "engines and CUDA contexts may want", gpu=each.gpu, names=names, need=each.need, room=each.room,
            evidence=evidence, fix=ways_out(plan, {*names}))
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
                  fix=ways_out(plan, {*names}))


def _alone(plan: Plan) -> Iterator[Result]:
    by_name = {each.service.name: each for each in plan.services}
    for service in plan.written.alone:
        placed = by_name[service.name]
        if placed.choice is None:
            continue
        yield result_of("compose.overcommit", failed(
            service.subject, "does not run on GPU {gpus} as written, even alone", gpus=service.written,
            fix=ways_out(plan, {service.name})), service)


def _nowhere(plan: Plan) -> Iterator[Result]:
    for placed in plan.services:
        service, answer = placed.service, placed.unfit
        if placed.choice is not None or placed.unknown:
            continue
        refused = next((r for r in answer.reasons if r.status == "fail"), None) if answer is not None else None
        if answer is not None and refused is not None and answer.prediction.verdict == "cannot-run":
            steps = tuple(Step(text, command) for text, command in refused.steps) or _larger()
            yield result_of(refused.check, Finding(status="fail", subject=service.subject, message=refused.message,
                                                 params=dict(refused.params), fix=steps), service)
            continue
        yield result_of("model.too-big", _too_large(plan, placed), service)


def _too_large(plan: Plan, placed: Placed) -> Finding:
    service, answer = placed.service, placed.unfit
    steps = [*_unpinned(plan, placed), *_advice(placed)] or list(_larger())
    emptiest = max(free for _, free in left(plan))
    settings = service.settings
    ranks = (settings.tensor_parallel or 1) * (settings.pipeline_parallel or 1)
    there = len(service.written) if service.pinned and service.written else len(plan.hardware.gpus)
    if ranks > there:
        return failed(service.subject, "asks for {ranks} GPUs (tensor parallel x pipeline parallel), and {count} are "
                      "there for it", ranks=ranks, count=there,
                      fix=step("Ask for {count} or fewer, or leave the number out.", count=there))
    if answer is None or answer.prediction.verdict == "fits":
        needs = () if answer is None else tuple(need.least or 0 for need in answer.prediction.gpus)
        needed = service.memory_bytes or max(needs, default=0)
        used = sum(1 for need in needs if need)
        if used > 1:
            enough = sum(free >= needed for _, free in left(plan))
            return failed(service.subject, "fits nowhere beside the others: it needs {needed:bytes} on each of {used} "
                          "GPUs, and {enough} have so much left", needed=needed, used=used, enough=enough,
                          fix=tuple(_unpinned(plan, placed)) or step(
                              "Let it have GPUs of its own, a smaller model or a shorter context."))  # fmt: skip
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
        choice, tokens = placed.choice, prediction.settings.context
        if choice is not None and choice.load.predictions:
            tokens = choice.load.predictions[0].kv_tokens
        share = share_beside(placed.question, tokens) if placed.service.engine == "sglang" and placed.question else None
        if share is not None:
            yield result_of("compose.overcommit", failed(
                placed.service.subject, "its share of {written} serves only if it starts first: SGLang takes it of "
                "what is free then", written=prediction.settings.gpu_memory_utilization,
                fix=step("Write --mem-fraction-static {share} and --max-total-tokens {tokens}: that serves whatever "
                         "starts first.", share=share, tokens=tokens)), placed.service)  # fmt: skip
            continue
        yield result_of("compose.overcommit", failed(
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
        yield result_of("model.too-big", unknown(service.subject, message, problem=service.problem, share=service.share,
                                               gpus=service.written, fix=fix), service)
