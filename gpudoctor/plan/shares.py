"""The shares that engines of one GPU may take: figures that add up, so that the order of starting does not matter."""

import math
from collections.abc import Collection, Sequence

from gpudoctor.fit.limits import predict
from gpudoctor.fit.question import Question
from gpudoctor.plan.needs import RESERVE_BYTES, Needs
from gpudoctor.plan.search import Choice
from gpudoctor.plan.service import Load, Service


def settled(
    services: Sequence[Service], choices: Sequence[Choice | None], needs: Needs, busy: Collection[int] = ()
) -> list[Choice | None]:
    """Return the choices with the room that is left given to those that take a share, up to their default.

    A share that its owner wrote stays, where it fits. ``busy`` are GPUs whose room nobody can tell: it is not given.
    """
    found = list(choices)
    for i, service in enumerate(services):
        choice = found[i]
        if choice is None or not service.takes_share or not choice.flavour.free_share or {*choice.gpus} & {*busy}:
            continue
        waiting = [k for k in range(i + 1, len(services)) if services[k].takes_share]
        found[i] = _raised(service, choice, [each for k, each in enumerate(found) if each and k != i],
                           [each for k in waiting if (each := found[k]) and each.flavour.free_share], needs)
    return found


def _raised(
    service: Service, choice: Choice, others: Sequence[Choice], waiting: Sequence[Choice], needs: Needs
) -> Choice:
    question = choice.load.question
    if question is None:
        return choice
    least = question.settings.gpu_memory_utilization or 0.0
    top = service.settings.gpu_memory_utilization
    if top is None:
        # The engine's own default is the most that it takes by itself.
        default = question.rules.prepare(
            question.model, question.settings._replace(gpu_memory_utilization=None), question.hardware
        )
        top = default[0].gpu_memory_utilization or 0.9
    spare = 1.0
    for n, claim in zip(choice.gpus, choice.claims, strict=True):
        if not claim:
            continue
        beside = [each for each in others if n in each.gpus and each.claims[each.gpus.index(n)]]
        used = sum(each.claims[each.gpus.index(n)] for each in beside)
        reserve = RESERVE_BYTES * (len(beside) + 1) if beside else 0
        left = needs.gpus[n].free_bytes - used - reserve - claim
        sharers = 1 + sum(n in each.gpus for each in waiting)
        spare = min(spare, left / sharers / needs.gpus[n].usable_bytes)
    share = max(least, min(top, math.floor((least + max(spare, 0.0)) * 100 + 1e-9) / 100))
    prediction = predict(question, gpu_memory_utilization=share)
    claims = tuple(need.total or 0 for need in prediction.gpus)
    if share <= least or prediction.verdict != "fits":
        return choice
    question = question._replace(settings=question.settings._replace(gpu_memory_utilization=share))
    return choice._replace(claims=claims, load=Load(claims, prediction.gpus, (prediction,), question))


def share_beside(question: Question, tokens: int | None) -> float | None:
    """Return the smallest share that gives SGLang so many tokens of what the others leave; None when none does.

    Its share is of what is free when it starts. Started first it would take more, which ``--max-total-tokens`` bounds.
    """
    for step in range(1, 100) if tokens else ():
        prediction = predict(question, gpu_memory_utilization=step / 100)
        if prediction.verdict == "fits" and (prediction.kv_tokens or 0) >= (tokens or 0):
            return step / 100
    return None
