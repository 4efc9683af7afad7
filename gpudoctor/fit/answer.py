"""The whole answer to one question: prediction, limits, contexts, and what would be if others made room."""

from typing import NamedTuple

from gpudoctor.fit.engines import Engine, engine
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.model import Model
from gpudoctor.fit.prediction import Prediction
from gpudoctor.fit.settings import Settings

#: Step of the search for the largest context: pages of 16 or cells of 256 tokens.
_STEP = {"ollama": 256, "llama.cpp": 256}
_MOST_PARALLEL = 256


class Question(NamedTuple):
    """A model, flags as given, and GPUs: everything an engine needs to answer."""

    model: Model
    settings: Settings
    hardware: Hardware

    @property
    def rules(self) -> Engine:
        """The engine asked."""
        return engine(self.settings.engine or "vllm")


class Limits(NamedTuple):
    """The most that fits; 0 when nothing does, None when it cannot be computed."""

    max_context: int | None
    max_parallel: int | None


class Row(NamedTuple):
    """One line of the context table."""

    context: int
    prediction: Prediction


class Answer(NamedTuple):
    """A prediction with everything around it."""

    question: Question
    prediction: Prediction
    limits: Limits
    contexts: tuple[Row, ...] = ()
    if_stopped: Prediction | None = None
    assumed: tuple[str, ...] = ()


def predict(question: Question, **changes: object) -> Prediction:
    """Answer the question with some flags changed; what was assumed is in the prediction."""
    settings = question.settings._replace(**changes) if changes else question.settings  # type: ignore[arg-type]
    rules = question.rules
    prepared, assumed = rules.prepare(question.model, settings, question.hardware)
    return rules.predict(question.model, prepared, question.hardware)._replace(assumed=assumed)


def accepted(question: Question, prediction: Prediction) -> bool:
    """Whether this is what was asked for: it fits, or stays partly on the CPU because the user said so."""
    settings = question.settings
    wanted = settings.cpu_moe or settings.gpu_layers is not None or settings.engine == "ktransformers"
    return prediction.verdict == "fits" or (prediction.verdict == "partial" and wanted)


def largest_context(question: Question) -> int | None:
    """The longest context that fits with everything else as asked, in tokens."""
    maximum = question.model.context_maximum or 131072
    if accepted(question, predict(question, context=maximum)):
        return maximum
    step = _STEP.get(question.settings.engine or "", 16)
    low, high = 0, maximum // step
    while low < high:
        middle = (low + high + 1) // 2
        if accepted(question, predict(question, context=middle * step)):
            low = middle
        else:
            high = middle - 1
    return low * step


def largest_parallel(question: Question, first: Prediction) -> int | None:
    """The most requests at once that fit at the context asked for."""
    if not accepted(question, first):
        return 0
    if question.settings.engine in ("vllm", "sglang", "tgi") and first.max_concurrency is not None:
        return max(1, int(first.max_concurrency))
    low, high = first.settings.parallel or 1, first.settings.parallel or 1
    while high < _MOST_PARALLEL and accepted(question, predict(question, parallel=high * 2)):
        low, high = high * 2, high * 2
    high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if accepted(question, predict(question, parallel=middle)):
            low = middle
        else:
            high = middle
    return low


def answer(question: Question, contexts: tuple[int, ...] = ()) -> Answer:
    """Answer everything about one question."""
    settings = question.settings
    if settings.context == 0:
        best = largest_context(question) or 1
        question = question._replace(settings=settings._replace(context=best))
    first = predict(question)
    limits = Limits(None, None)
    if question.hardware.gpus and first.verdict not in ("cannot-run", "unknown"):
        limits = Limits(largest_context(question), largest_parallel(question, first))
    rows = tuple(Row(context, predict(question, context=context)) for context in contexts)
    stopped = None
    if question.hardware.live and any(gpu.free_bytes < gpu.idle_bytes for gpu in question.hardware.gpus):
        idle = tuple(gpu._replace(free_bytes=max(gpu.idle_bytes, gpu.free_bytes)) for gpu in question.hardware.gpus)
        stopped = predict(question._replace(hardware=question.hardware._replace(gpus=idle)))
    assumed = (*question.model.assumed, *first.assumed, *question.hardware.assumed)
    return Answer(question, first, limits, rows, stopped, assumed)
