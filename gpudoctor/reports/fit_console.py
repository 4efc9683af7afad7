"""`gpudoctor fit` for people: a table for each GPU, one verdict line, what to know and what else would fit.

Plain ASCII without any library: it must look the same in every console and start at once.
"""

from collections.abc import Iterator

from gpudoctor.fit.launch import launch
from gpudoctor.fit.question import Answer
from gpudoctor.reports.fit_document import finding
from gpudoctor.reports.language import tell
from gpudoctor.reports.retold import retold
from gpudoctor.reports.words import harmless, padded, size, told

_VERDICT = {
    "fits": "FITS",
    "partial": "PARTLY ON THE CPU",
    "does-not-fit": "DOES NOT FIT",
    "cannot-run": "CANNOT RUN",
    "unknown": "UNKNOWN",
}
_LABEL = {"fail": "FAIL", "warn": "WARN", "unknown": "UNKNOWN", "info": "note", "pass": "ok"}


def render(answer: Answer, *, explain: bool = False) -> str:
    """Return the whole report with a final newline."""
    lines = [*_head(answer), "", *_table(answer), "", *_verdict(answer), *_findings(answer)]
    if answer.contexts:
        lines += ["", *_contexts(answer)]
    if answer.advice:
        lines += ["", "  " + tell("what else fits" if answer.prediction.verdict == "fits" else "what does fit")]
        lines += [f"    - {harmless(told(option.text, option.params))}" for option in answer.advice]
    if explain:
        lines += ["", *_arithmetic(answer)]
    if answer.question.hardware.gpus and answer.prediction.verdict in ("fits", "partial"):
        lines += ["", f"  {padded(tell('launch'), 8)} {harmless(launch(answer.question, answer.prediction).command)}"]
    return "\n".join(lines) + "\n"


def _head(answer: Answer) -> Iterator[str]:
    model, settings = answer.question.model, answer.prediction.settings
    about = ["MoE"] if model.experts else []
    about.append(_said("{count} layers", count=len(model.layers)))
    if model.parameters:
        about.append(_said("{billions:.1f}B parameters", billions=model.parameters / 1e9))
    about += [model.quantization, size(model.weights_bytes)]
    yield harmless(f"{model.name}  {', '.join(about)}  ({tell(model.source)})")
    engine = f"{answer.question.settings.engine} {answer.question.settings.version or ''}".rstrip()
    parts = [_said("engine {engine}", engine=engine), f"{tell('context')} {settings.context}"]
    parts += [f"{tell('parallel')} {settings.parallel}", f"KV {settings.kv_cache_type}"]
    if (settings.tensor_parallel or 1) * (settings.pipeline_parallel or 1) > 1:
        parts.append(f"TP {settings.tensor_parallel} x PP {settings.pipeline_parallel}")
    if settings.gpu_memory_utilization:
        parts.append(f"{tell('share')} {settings.gpu_memory_utilization:g}")
    yield harmless("   ".join(parts))
    if answer.assumed:
        yield harmless(tell("assumed: ") + "; ".join(map(retold, answer.assumed)))


def _table(answer: Answer) -> Iterator[str]:
    gpus = answer.question.hardware.gpus
    if not gpus:
        yield "  " + tell('no GPU was found here: --hardware "2x RTX 4090" judges on GPUs by name')
        return
    width = max(len(gpu.name) for gpu in gpus)
    columns = (tell("free"), tell("weights"), tell("KV cache"), tell("compute"), tell("overhead"), tell("needed"),
               tell("left"))  # fmt: skip
    heads = "".join(padded(column, 11, right=True) for column in columns)
    yield f"  GPU  {padded(tell('name'), width)}{heads}  {tell('layers')}"
    for gpu, need in zip(gpus, answer.prediction.gpus, strict=True):
        total = need.total
        left = None if total is None else gpu.free_bytes - total
        values = (gpu.free_bytes, need.weights, need.kv_cache, need.compute, need.overhead, total, left)
        cells = "".join(f"{_short(value):>11}" for value in values)
        span = f"  {need.layers[0]}-{need.layers[1]}" if need.layers else ""
        yield harmless(f"  {gpu.number:>3}  {gpu.name:{width}}{cells}{span}")
    host, have = answer.prediction.host_bytes, answer.question.hardware.host_free_bytes
    if host:
        if have is None:
            yield "  " + _said("host memory needs {need:bytes}, not judged: host memory was not given", need=host)
        else:
            yield "  " + _said("host memory needs {need:bytes}, {have:bytes} free", need=host, have=have)


def _said(template: str, **params: str | float | None) -> str:
    return harmless(told(template, params))


def _short(value: int | None) -> str:
    return "?" if value is None else "-" if value == 0 else size(value)


def _verdict(answer: Answer) -> Iterator[str]:
    prediction = answer.prediction
    words = []
    if prediction.layers_total and prediction.layers_on_gpu is not None:
        on, total = prediction.layers_on_gpu, prediction.layers_total
        words.append(_said("{on} of {total} layers on the GPU", on=on, total=total))
    if prediction.kv_tokens and prediction.layers_total is None:
        words.append(_said("room for {tokens} tokens", tokens=prediction.kv_tokens))
    if prediction.max_concurrency and prediction.layers_total is None:
        words.append(_said("{count:.1f} requests of this length at once", count=prediction.max_concurrency))
    margin = prediction.margin_bytes
    if margin is not None and prediction.verdict in ("fits", "partial"):
        words.append(_said("{left:bytes} left on the fullest GPU", left=margin))
    elif margin is not None and margin < 0 and prediction.verdict == "does-not-fit":
        words.append(_said("{missing:bytes} are missing", missing=-margin))
    low, high = prediction.error
    words.append(_said("error -{low:bytes} / +{high:bytes}", low=low, high=high))
    yield f"{tell(_VERDICT[prediction.verdict])}  " + ", ".join(words)
    limits = answer.limits
    if limits.max_context is not None and prediction.verdict != "cannot-run":
        yield "  " + _said("largest context {context}, most requests at once {parallel}",
                           context=limits.max_context, parallel=limits.max_parallel)  # fmt: skip
    if answer.decode_tokens_per_s is not None and prediction.verdict in ("fits", "partial"):
        yield "  " + _said("about {speed:g} tokens/s: {basis}", speed=answer.decode_tokens_per_s,
                           basis=answer.speed_basis)  # fmt: skip
    if prediction.message:
        yield harmless(f"  {tell('it would print:')} {prediction.message}")
    if answer.if_stopped is not None:
        yield f"  {tell('if the processes on these GPUs were stopped:')} {tell(_VERDICT[answer.if_stopped.verdict])}"


def _findings(answer: Answer) -> Iterator[str]:
    for reason in answer.reasons:
        shown = finding(reason)
        yield harmless(f"  {_LABEL[reason.status]:8} {shown['message']}  [{reason.check}]")
        for step in shown["fix"]:
            command = f": {step['command']}" if step["command"] else ""
            yield harmless(f"           -> {step['text']}{command}")


def _contexts(answer: Answer) -> Iterator[str]:
    heads = ((tell("context"), 9), (tell("verdict"), 15), (tell("needed"), 12), (tell("KV cache"), 12),
             (tell("left"), 12), ("tokens/s", 10))  # fmt: skip
    yield "  " + "".join(padded(head, width, right=True) for head, width in heads)
    for row in answer.contexts:
        totals = [need.least for need in row.prediction.gpus]
        needed = None if None in totals else sum(total or 0 for total in totals)
        margin = row.prediction.margin_bytes
        left = "?" if margin is None else ("-" + size(-margin) if margin < 0 else size(margin))
        speed = "?" if row.decode_tokens_per_s is None else f"{row.decode_tokens_per_s:g}"
        yield (
            f"  {row.context:>9}{row.prediction.verdict:>15}{_short(needed):>12}"
            f"{_short(row.prediction.kv_needed_bytes):>12}{left:>12}{speed:>10}"
        )


def _arithmetic(answer: Answer) -> Iterator[str]:
    yield "  " + tell("the arithmetic")
    for term in answer.prediction.terms:
        figure = f"{padded(retold(term.what), 32)}{_short(term.value_bytes):>12}"
        yield harmless(f"    {figure}  {retold(term.formula)}  [{term.source}]")
