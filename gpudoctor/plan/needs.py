"""What a service holds on given GPUs, by fit's arithmetic on idle ones, by a sourced figure, or by its owner's word."""

from collections.abc import Sequence

from gpudoctor.fit.engines.common import CONTEXT_ERROR_BYTES
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.limits import predict
from gpudoctor.fit.model import Unusable
from gpudoctor.fit.prediction import Need, Prediction
from gpudoctor.fit.question import Question
from gpudoctor.fit.rules import refusals
from gpudoctor.fit.settings import MIB, Settings
from gpudoctor.matrices import service_kinds
from gpudoctor.plan.service import PARALLEL, Flavour, Load, Service

#: Contexts to try where a service names none and the engine's default does not fit.
LADDER = (131072, 65536, 32768, 16384, 8192, 4096)
#: fit's own uncertainty about one process's CUDA context: set aside for each process where several share a GPU.
RESERVE_BYTES = CONTEXT_ERROR_BYTES

_MOST_KEPT_MIB = 4096


class Needs:
    """Computes loads and remembers them: equal cards give equal answers."""

    def __init__(self, hardware: Hardware) -> None:
        """Judge for these GPUs; their free memory is what the plan may use."""
        self.hardware = hardware
        self.gpus = {gpu.number: gpu for gpu in hardware.gpus}
        # What counts for the arithmetic alone: equal cards share their answers.
        plain = [gpu._replace(number=0, holders=(), peers=None, numa_node=None) for gpu in hardware.gpus]
        self._alike = {n: plain.index(card) for n, card in zip(self.gpus, plain, strict=True)}
        self._loads: dict[tuple[object, ...], Load | None] = {}
        self._questions: dict[tuple[object, ...], Question] = {}
        self.computed = 0
        #: Sets of GPUs worth trying, by how many; and whether those are all.
        self.sets: dict[int, tuple[list[tuple[int, ...]], bool]] = {}

    def load(self, service: Service, gpus: Sequence[int], flavour: Flavour) -> Load | None:
        """Return what a service holds on these GPUs, None where it does not run on them even alone."""
        alike = tuple(gpus) if service.measured else tuple(self._alike[n] for n in gpus)
        key = (service.name, alike, flavour)
        if key not in self._loads:
            self._loads[key] = self._load(service, gpus, flavour)
            self.computed += 1
        return self._loads[key]

    def _load(self, service: Service, gpus: Sequence[int], flavour: Flavour) -> Load | None:
        told = self._told(service, gpus)
        if told is not None:
            needs = tuple(Need(weights=None, kv_cache=None, compute=None, overhead=None, required=n) for n in told)
            return Load(told, needs)
        fixed = self.fixed_bytes(service)
        if fixed is not None:
            need = Need(weights=None, kv_cache=None, compute=None, overhead=None, required=fixed)
            fits = all(fixed <= self.gpus[n].free_bytes for n in gpus)
            return Load((fixed,) * len(gpus), (need,) * len(gpus)) if fits else None
        loads = [self._model(service, model, gpus, flavour) for model in service.models]
        if not loads or any(load is None for load in loads):
            return None
        known = [load for load in loads if load is not None]
        if len(known) == 1:
            return known[0]
        together = _together(known, flavour.in_turn or (service.max_loaded or 64) < len(known))
        over = any(claim > self.gpus[n].free_bytes for claim, n in zip(together.claims, gpus, strict=True))
        return None if over else together

    def _told(self, service: Service, gpus: Sequence[int]) -> tuple[int, ...] | None:
        """Return what it holds of each GPU by measurement or by its share alone, None where that is not known."""
        if service.measured and gpus == tuple(n for n, _ in service.measured):
            return tuple(size for _, size in service.measured)
        if service.share is not None:
            return tuple(round(self.gpus[n].usable_bytes * service.share) for n in gpus)
        return None

    def fixed_bytes(self, service: Service) -> int | None:
        """Return bytes that do not depend on the card: its owner's word, or the table's figure."""
        if service.memory_bytes is not None:
            return service.memory_bytes
        row = service_kinds.size(service.kind, service.models[0]) if service.kind and service.models else None
        return row.memory_mib * MIB if row is not None else None

    def question(self, service: Service, model: str, gpus: Sequence[int], flavour: Flavour) -> Question:
        """Return the question to fit: this model alone on these GPUs, all of whose free memory is its own.

        Raises:
            Unusable: The name cannot be judged.
        """
        from gpudoctor.fit.asking import question

        settings = service.settings
        kind = service_kinds.kind(service.kind) if service.kind else None
        if kind is not None:
            settings = Settings(engine="transformers", context=kind.batch_tokens, prompt_tokens=kind.batch_tokens)
        if flavour.context is not None:
            settings = settings._replace(context=flavour.context)
        hardware = self.hardware._replace(gpus=tuple(self.gpus[n] for n in gpus))
        key = (model, settings)
        if key not in self._questions:
            self._questions[key] = question(model, settings, hardware)
        asked = self._questions[key]._replace(hardware=hardware)
        most = asked.model.context_maximum
        if kind is not None and most and (asked.settings.context or 0) > most:
            asked = asked._replace(settings=asked.settings._replace(context=most, prompt_tokens=most))
        return asked

    def _model(self, service: Service, model: str, gpus: Sequence[int], flavour: Flavour) -> Load | None:
        try:
            question = self.question(service, model, gpus, flavour)
            ranks = (service.settings.tensor_parallel or 1) * (service.settings.pipeline_parallel or 1)
            if service.engine in PARALLEL and ranks == 1 and len(gpus) > 1:
                question = question._replace(settings=question.settings._replace(tensor_parallel=len(gpus)))
            prediction = predict(question)
            if flavour.context is not None and not self._shorter(question, flavour.context):
                return None
            if refusals(question.model, prediction.settings, question.hardware):
                return None
            return self._share(question, prediction, flavour) if service.takes_share else self._sum(
                question, prediction, service.kind)
        except Unusable:
            return None

    def _shorter(self, question: Question, context: int) -> bool:
        default = predict(question, context=None).settings.context
        return default is not None and context < default

    def _sum(self, question: Question, prediction: Prediction, kind: str | None) -> Load | None:
        gpus = question.hardware.gpus
        if kind is not None:
            # An encoder keeps no cache between requests; fit's figure is for generating.
            needs = tuple(need._replace(kv_cache=0) for need in prediction.gpus)
            claims = tuple(need.least or 0 for need in needs)
        elif prediction.verdict != "fits":
            return None
        else:
            needs = prediction.gpus
            kept = kept_free(question, prediction)
            claims = tuple(need.least + kept if need.least else 0 for need in needs)
            # Alone on its GPUs it needs no more than fit says.
            claims = tuple(min(claim, max(gpu.free_bytes, need.least or 0))
                           for claim, need, gpu in zip(claims, needs, gpus, strict=True))
        over = any(claim > gpu.free_bytes for claim, gpu in zip(claims, gpus, strict=True))
        return None if over else Load(claims, needs, (prediction,), question)

    def _share(self, question: Question, prediction: Prediction, flavour: Flavour) -> Load | None:
        """Claim what was written, or the least that serves the context: the share can be chosen later."""
        gpus = question.hardware.gpus
        if not flavour.free_share:
            claims = tuple(need.total or 0 for need in prediction.gpus)
            over = any(claim > gpu.free_bytes for claim, gpu in zip(claims, gpus, strict=True))
            if over or prediction.verdict != "fits":
                return None
            return Load(claims, prediction.gpus, (prediction,), question)
        share = least_share(question)
        if share is None:
            return None
        settings = question.settings._replace(gpu_memory_utilization=share)
        question = question._replace(settings=settings)
        again = predict(question)
        claims = tuple(need.total or 0 for need in again.gpus)
        over = any(claim > gpu.free_bytes for claim, gpu in zip(claims, gpus, strict=True))
        return None if over else Load(claims, again.gpus, (again,), question)


def kept_free(question: Question, prediction: Prediction) -> int:
    """Return the bytes that an engine wants to see free on each GPU beside what it takes (llama.cpp's --fit-target)."""
    low, high = -1, _MOST_KEPT_MIB
    while high - low > 1:
        middle = (low + high) // 2
        gpus = tuple(
            gpu._replace(free_bytes=min(need.least + middle * MIB, gpu.free_bytes)) if need.least else gpu
            for gpu, need in zip(question.hardware.gpus, prediction.gpus, strict=True)
        )
        if predict(question._replace(hardware=question.hardware._replace(gpus=gpus))).verdict == "fits":
            high = middle
        else:
            low = middle
    return high * MIB


def least_share(question: Question) -> float | None:
    """Return the smallest share in steps of 0.01 that serves the context asked for; None when none does.

    Where the card has the room, fit's own error comes on top: a share that nearly suffices does not start.
    """
    return _least_share(question, careful=True) or _least_share(question, careful=False)


def _least_share(question: Question, *, careful: bool) -> float | None:
    low, high = 0, 100
    while high - low > 1:
        middle = (low + high) // 2
        prediction = predict(question, gpu_memory_utilization=middle / 100)
        margin = prediction.margin_bytes
        if margin is not None and margin >= (prediction.error[0] if careful else 0):
            high = middle
        else:
            low = middle
    found = high / 100
    return found if high < 100 and predict(question, gpu_memory_utilization=found).verdict == "fits" else None


def _together(loads: Sequence[Load], in_turn: bool) -> Load:
    """Several models of one Ollama: the sum where they stay together, the peak where they make room for each other."""
    joined = max if in_turn else sum
    claims = tuple(joined(claims) for claims in zip(*(load.claims for load in loads), strict=True))
    totals = (joined(need.total or 0 for need in needs) for needs in zip(*(load.needs for load in loads), strict=True))
    needs = tuple(Need(weights=None, kv_cache=None, compute=None, overhead=None, required=total) for total in totals)
    return Load(claims, needs, tuple(p for load in loads for p in load.predictions), loads[0].question)
