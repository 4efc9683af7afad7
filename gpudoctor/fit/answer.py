"""The whole answer to one question: prediction, limits, contexts, and what would be if others made room."""

from gpudoctor.fit import limits
from gpudoctor.fit.hardware import HELD_BYTES, Gpu
from gpudoctor.fit.prediction import Prediction, Reason, Verdict
from gpudoctor.fit.question import Answer, Limits, Question, Row


def answer(question: Question, contexts: tuple[int, ...] = (), *, advise: bool = True) -> Answer:
    """Answer everything about one question."""
    settings = question.settings
    if settings.context == 0:
        question = question._replace(settings=settings._replace(context=limits.largest_context(question) or 1))
    if not question.hardware.gpus:
        return _without_gpus(question)
    first = limits.predict(question)
    refused = _refusals(question, first)
    assumed = (*question.assumed, *question.model.assumed, *first.assumed, *question.hardware.assumed)
    judged = _widened(_judged(question, first, refused), len(assumed))
    known = Limits(None, None)
    if refused:
        known = Limits(0, 0)
    elif judged.verdict != "unknown":
        known = Limits(limits.largest_context(question), limits.most_parallel(question, first))
    from gpudoctor.fit.notes import notes
    from gpudoctor.fit.speed import expected

    engine = question.settings.engine or "vllm"
    rows = []
    for context in contexts:
        row = _judged(question, limits.predict(question, context=context), refused)
        speed = expected(question.model, row, question.hardware, engine)
        rows.append(Row(context, row, speed.decode_tokens_per_s if speed else None))
    speed = expected(question.model, judged, question.hardware, engine)
    found = Answer(
        question,
        judged,
        known,
        tuple(rows),
        _if_stopped(question, refused),
        tuple(dict.fromkeys(assumed)),
        (*refused, *judged.reasons, *notes(question, judged, known)),
        decode_tokens_per_s=speed.decode_tokens_per_s if speed else None,
        speed_basis=speed.basis if speed else None,
    )
    if advise and not refused and judged.verdict != "unknown":
        from gpudoctor.fit.advice import advice

        found = found._replace(advice=advice(found))
    return found


def _without_gpus(question: Question) -> Answer:
    """Nothing to compare with: what one GPU large enough would need, and the verdict unknown."""
    endless = Gpu(number=0, name="any GPU", total_bytes=2**50, usable_bytes=2**50, free_bytes=2**50)
    supposed = question._replace(hardware=question.hardware._replace(gpus=(endless,)))
    prepared, taken = question.rules.prepare(question.model, question.settings, question.hardware)
    first = question.rules.predict(question.model, prepared, supposed.hardware)
    refused = _refusals(question, first)
    need = first.gpus[0].least
    reason = Reason(
        "pci.no-gpu", "unknown", "there is no GPU to compare with; one GPU would have to hold {need:bytes}",
        {"need": need}, (("Name GPUs with --hardware, or a machine's record with --snapshot", None),),
    )  # fmt: skip
    judged = first._replace(verdict="cannot-run" if refused else "unknown", gpus=(), margin_bytes=None)
    if judged.layers_total is not None:
        judged = judged._replace(layers_on_gpu=None)
    assumed = (*question.assumed, *question.model.assumed, *taken)
    return Answer(question, judged, Limits(None, None), (), None, assumed, (*refused, reason))


def _refusals(question: Question, prediction: Prediction) -> tuple[Reason, ...]:
    hardware = question.hardware
    # Without GPUs, several ranks or a kind of model that an engine lacks there is nothing that could forbid a run.
    if not hardware.gpus and (prediction.settings.tensor_parallel or 1) == 1 and not question.model.encoder_decoder:
        return ()
    from gpudoctor.fit.rules import refusals

    settings = question.settings._replace(tensor_parallel=prediction.settings.tensor_parallel)
    return refusals(question.model, settings, hardware)


def _widened(prediction: Prediction, assumed: int) -> Prediction:
    """Everything that was assumed instead of given makes the figure less sure: 2 % of the compute term each."""
    compute = max((need.compute or 0 for need in prediction.gpus), default=0)
    low, high = prediction.error
    return prediction._replace(error=(low + assumed * compute // 50, high + assumed * compute // 50))


def _judged(question: Question, prediction: Prediction, refused: tuple[Reason, ...]) -> Prediction:
    if refused:
        return prediction._replace(verdict="cannot-run")
    if any("compute buffers" in what for what in question.model.unknown):
        return _honest(question, prediction)
    have = question.hardware.host_free_bytes
    short = have is not None and (prediction.host_bytes or 0) > have
    if short and prediction.cpu_weights_bytes and prediction.verdict == "partial":
        return prediction._replace(verdict="does-not-fit")
    return prediction


def _honest(question: Question, prediction: Prediction) -> Prediction:
    """Nobody knows what an unknown architecture computes with: what does not fit without it does not fit, no more."""
    without_cache = any(what.startswith("the cache") for what in question.model.unknown)
    needs = tuple(
        need._replace(
            compute=None, required=None, minimum=None, kv_cache=None if without_cache else need.kv_cache
        ) if need.total else need
        for need in prediction.gpus
    )  # fmt: skip
    short = any(
        (need.weights or 0) + (need.overhead or 0) > gpu.free_bytes
        for need, gpu in zip(needs, question.hardware.gpus, strict=False)
    )
    verdict: Verdict = "does-not-fit" if short or prediction.verdict == "does-not-fit" else "unknown"
    return prediction._replace(verdict=verdict, gpus=needs, margin_bytes=None)


def _if_stopped(question: Question, refused: tuple[Reason, ...]) -> Prediction | None:
    hardware = question.hardware
    if not hardware.live or all(gpu.idle_bytes - gpu.free_bytes < HELD_BYTES for gpu in hardware.gpus):
        return None
    idle = tuple(gpu._replace(free_bytes=max(gpu.idle_bytes, gpu.free_bytes)) for gpu in hardware.gpus)
    emptied = question._replace(hardware=hardware._replace(gpus=idle))
    return _judged(emptied, limits.predict(emptied), refused)
