"""Searching along one flag: the largest context and the most requests that still fit."""

from gpudoctor.fit.prediction import Prediction
from gpudoctor.fit.question import Question

#: Step of the search for the largest context: pages of 16 or cells of 256 tokens.
_STEP = {"ollama": 256, "llama.cpp": 256}
_MOST_PARALLEL = 256


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
    return prediction.verdict == "fits" or (prediction.verdict == "partial" and (wanted or settings.allow_partial))


def _has_room(question: Question, prediction: Prediction) -> bool:
    """Accepted, and no GPU over its memory: an engine that places by its own estimate may start and then run out."""
    return accepted(question, prediction) and (prediction.margin_bytes is None or prediction.margin_bytes >= 0)


def largest_context(question: Question) -> int:
    """The longest context that fits with everything else as asked, in tokens; 0 when none does."""
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


def most_parallel(question: Question, first: Prediction) -> int:
    """The most requests at once that fit at the context asked for; 0 when not even one does."""
    if not accepted(question, first):
        return 0
    if question.settings.engine in ("vllm", "sglang", "tgi") and first.max_concurrency is not None:
        return max(1, min(int(first.max_concurrency), first.settings.max_num_seqs or 2**31))
    low = high = first.settings.parallel or 1
    while high < _MOST_PARALLEL and _has_room(question, predict(question, parallel=high * 2)):
        low = high = high * 2
    if high >= _MOST_PARALLEL:
        return high
    high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if _has_room(question, predict(question, parallel=middle)):
            low = middle
        else:
            high = middle
    return low
