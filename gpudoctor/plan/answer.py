"""The whole plan: what is written judged, the best placement, the shares, and each service verified where it lies."""

from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.fit.answer import answer
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.limits import largest_context, predict
from gpudoctor.fit.model import Unusable
from gpudoctor.fit.prediction import Need, Prediction
from gpudoctor.fit.question import Answer, Question
from gpudoctor.judging.composed_fit import default_share
from gpudoctor.plan.conflicts import Written, as_written
from gpudoctor.plan.needs import Needs
from gpudoctor.plan.order import checked
from gpudoctor.plan.search import Choice, Placement, place
from gpudoctor.plan.service import Flavour, Service
from gpudoctor.plan.shares import settled, share_beside


class Placed(NamedTuple):
    """One service in the plan. ``choice`` is None for one that fits nowhere or of which nothing is known.

    ``prediction`` is fit's, with what the others leave. ``unfit`` is fit's answer for one that fits nowhere.
    """

    service: Service
    choice: Choice | None
    prediction: Prediction | None = None
    question: Question | None = None
    most_context: int | None = None
    max_tokens: int | None = None
    """What bounds SGLang's cache, so that its share serves whatever starts first."""
    unfit: Answer | None = None

    @property
    def unknown(self) -> bool:
        """Nobody knows how much memory it takes."""
        return self.service.problem is not None and self.service.share is None

    @property
    def moved(self) -> bool:
        """It goes elsewhere than it is written."""
        written = self.service.written
        return self.choice is not None and written is not None and set(self.choice.gpus) != set(written)

    def needs(self) -> tuple[tuple[int, Need], ...]:
        """Return GPU and need for those it takes, as verified, else as claimed."""
        if self.choice is None:
            return ()
        needs = self.prediction.gpus if self.prediction is not None else self.choice.load.needs
        pairs = zip(self.choice.gpus, needs, strict=True)
        return tuple((n, need) for n, need in pairs if need.total)


class Plan(NamedTuple):
    """Everything that there is to say."""

    hardware: Hardware
    services: tuple[Placed, ...]
    written: Written
    placement: Placement
    unpinned: Placement | None = None
    """Where everything would fit if no service were pinned; None where nothing would be better."""


def plan(services: Sequence[Service], hardware: Hardware) -> Plan:
    """Place all services on these GPUs; their free memory is what the plan may use.

    Raises:
        Unusable: A GPU, model or order in a plan's file that does not exist.
    """
    checked(services)
    needs = Needs(hardware)
    _gpus_exist(services, needs)
    services = [_known(service, needs) for service in services]
    known = [service for service in services if service.problem is None or service.share is not None]
    busy: dict[int, int] = {}
    for service in services:
        for n in service.written or ():
            if service not in known:
                busy[n] = busy.get(n, 0) + 1
    written = as_written(known, needs)
    placement = place(known, needs, busy)
    unpinned = None
    if any(choice is None for choice in placement.choices) and any(service.pinned for service in known):
        free = place([service._replace(pinned=False) for service in known], needs, busy)
        unpinned = free if _left_out(free) < _left_out(placement) else None
    choices = iter(settled(known, placement.choices, needs, busy))
    drafts = [Placed(each, next(choices) if each in known else None) for each in services]
    return Plan(hardware, tuple(_verified(draft, drafts, needs) for draft in drafts), written, placement, unpinned)


def _left_out(placement: Placement) -> int:
    return sum(choice is None for choice in placement.choices)


def _gpus_exist(services: Sequence[Service], needs: Needs) -> None:
    here = ", ".join(map(str, needs.gpus))
    for service in services:
        for n in service.written or ():
            if n not in needs.gpus:
                raise Unusable(f"service {service.name[:60]}: GPU {n} does not exist", hint=f"there are {here}",
                               where=f"{service.origin.file}:{service.origin.line}")


def _known(service: Service, needs: Needs) -> Service:
    """Find out whether fit knows the models; a name that nobody knows is no reason to guess."""
    if service.problem is not None and service.memory_bytes is None:
        return _share_alone(service)
    if needs.fixed_bytes(service) is not None:
        return service._replace(problem=None)
    if not service.models:
        problem = "its model is not named"
        if service.strict:
            raise Unusable(f"service {service.name[:60]}: {problem}", hint='give model or memory = "8GiB"',
                           where=f"{service.origin.file}:{service.origin.line}")
        return _share_alone(service._replace(problem=problem))
    try:
        first = [needs.question(service, model, tuple(needs.gpus)[:1], Flavour()) for model in service.models]
    except Unusable as problem:
        if service.strict:
            raise Unusable(f"service {service.name[:60]}: {problem.message}",
                           hint=problem.hint or 'give memory = "8GiB" for what nobody knows',
                           where=f"{service.origin.file}:{service.origin.line}") from None
        return _share_alone(service._replace(problem=problem.message))
    if service.engine is None and service.kind is None:
        # The engine that fit would take decides how it may be spread.
        engine = first[0].settings.engine
        return service._replace(engine=engine, settings=service.settings._replace(engine=engine))
    return service


def _share_alone(service: Service) -> Service:
    """An engine that takes a share takes it whatever the model: on the GPUs that are written, that much is known."""
    if service.engine != "vllm" or not service.written:
        return service
    share = service.settings.gpu_memory_utilization or default_share(service.settings.version)
    return service._replace(share=share, pinned=True)


def _verified(draft: Placed, drafts: Sequence[Placed], needs: Needs) -> Placed:
    """Judge a service once more where it lies, with what the others leave it."""
    choice, service = draft.choice, draft.service
    if draft.unknown:
        return draft
    if choice is None:
        return draft._replace(unfit=_unfit(service, needs))
    question = choice.load.question
    if question is None or len(service.models) != 1 or service.kind is not None:
        return draft
    gpus = []
    for n in choice.gpus:
        others = sum(
            other.choice.claims[other.choice.gpus.index(n)] for other in drafts
            if other is not draft and other.choice is not None and n in other.choice.gpus
        )  # fmt: skip
        gpu = needs.gpus[n]
        gpus.append(gpu._replace(free_bytes=max(gpu.free_bytes - others, 0)))
    beside = question._replace(hardware=question.hardware._replace(gpus=tuple(gpus)))
    prediction = predict(beside)
    shared = any(gpu.free_bytes < needs.gpus[gpu.number].free_bytes for gpu in gpus)
    if service.engine == "sglang" and choice.flavour.free_share and shared:
        tokens = choice.load.predictions[0].kv_tokens
        share = share_beside(beside, tokens)
        if share is not None:
            beside = beside._replace(settings=beside.settings._replace(gpu_memory_utilization=share))
            return draft._replace(prediction=predict(beside), question=beside, max_tokens=tokens,
                                  most_context=largest_context(beside))
    return draft._replace(prediction=prediction, question=beside, most_context=largest_context(beside))


def _unfit(service: Service, needs: Needs) -> Answer | None:
    """Return fit's answer for a service that fits nowhere, alone on the GPUs where it has the most room."""
    if not service.models or needs.fixed_bytes(service) is not None:
        return None
    everything = service.written if service.pinned and service.written else tuple(needs.gpus)
    settings = service.settings
    ranks = (settings.tensor_parallel or 1) * (settings.pipeline_parallel or 1)
    if settings.tensor_parallel is not None or settings.pipeline_parallel is not None:
        room = sorted(everything, key=lambda n: -needs.gpus[n].free_bytes)
        everything = tuple(sorted(room[:ranks]))
    try:
        return answer(needs.question(service, service.models[0], everything, Flavour()))
    except Unusable:
        return None
