"""Solving the other way round: what to change so that it fits, the cheapest change first, with what it costs."""

from collections.abc import Iterator

from gpudoctor.fit.limits import accepted, largest_context, predict
from gpudoctor.fit.model import Unusable
from gpudoctor.fit.question import Advice, Answer, Question

#: Quantizations from best to worst, by what a model file is; the cost is what people measure as loss of quality.
_GGUF = (("Q8_0", 0.1), ("Q6_K", 0.3), ("Q5_K_M", 0.6), ("Q4_K_M", 1.2), ("Q3_K_M", 3.5), ("Q2_K", 8.0))
_SAFETENSORS = (("FP8", 0.3), ("GPTQ-Int8", 0.4), ("AWQ", 1.5), ("GPTQ-Int4", 1.6))
_MOST = 6
_TRIED = 500


def advice(answer: Answer) -> tuple[Advice, ...]:
    """What fits instead, or how much more would fit; at most six lines."""
    question = answer.question
    if accepted(question, answer.prediction):
        return tuple(_more(answer))
    found: list[Advice] = []
    for option in _options(answer):
        found.append(option)
        if len(found) >= 3 * _MOST:
            break
    found.sort(key=lambda option: option.cost)
    if not any("quant" in option.change or "kv_cache_type" in option.change for option in found):
        found = [*found[: _MOST - 1], *_other_models(question)]
    return tuple(found[:_MOST])


def _more(answer: Answer) -> Iterator[Advice]:
    limits, settings = answer.limits, answer.prediction.settings
    if limits.max_context and settings.context and limits.max_context > settings.context:
        yield Advice(
            "up to {context} tokens fit with everything else as asked", {"context": limits.max_context},
            {"context": limits.max_context}, 0.0,
        )  # fmt: skip
    if limits.max_parallel and limits.max_parallel > (settings.parallel or 1):
        yield Advice(
            "up to {parallel} requests at once fit at this context", {"parallel": limits.max_parallel},
            {"parallel": limits.max_parallel}, 0.0,
        )  # fmt: skip


def _options(answer: Answer) -> Iterator[Advice]:
    """Single changes first, then quantization with a smaller context; every one verified by a prediction."""
    question = answer.question
    most = answer.limits.max_context or 0
    if most >= 512:
        yield _context(answer, most, {}, 0.0)
    yield from _cache_types(answer)
    yield from _vllm_knobs(answer)
    yield from _experts_on_cpu(answer)
    yield from _quantizations(answer)
    yield from _more_cards(question)


def _context(answer: Answer, context: int, change: dict[str, str | int | float | bool], cost: float) -> Advice:
    asked = answer.prediction.settings.context or 1
    lost = max(asked / context - 1, 0.0)
    return Advice(
        "{context} tokens of context fit", {"context": context}, {**change, "context": context}, cost + min(lost, 6.0)
    )


def _cache_types(answer: Answer) -> Iterator[Advice]:
    question, engine = answer.question, answer.question.settings.engine
    kinds = (("q8_0", 0.2), ("q4_0", 1.5)) if engine in ("ollama", "llama.cpp") else (("fp8", 0.3),)
    if engine in ("transformers", "tgi", "ktransformers"):
        return
    for kind, cost in kinds:
        if question.settings.kv_cache_type == kind:
            continue
        changes: dict[str, object] = {"kv_cache_type": kind}
        if engine == "ollama":
            changes["flash_attention"] = True
        try:
            prediction = predict(question, **changes)
        except Unusable:
            continue
        if prediction.settings.kv_cache_type == kind and accepted(question, prediction):
            yield Advice("a {kind} KV cache fits", {"kind": kind}, {"kv_cache_type": kind}, cost)


def _vllm_knobs(answer: Answer) -> Iterator[Advice]:
    question = answer.question
    if question.settings.engine != "vllm":
        return
    count = len(question.hardware.gpus)
    settings = answer.prediction.settings
    knobs: list[tuple[str, dict[str, object], float]] = [
        ("--max-num-seqs 64", {"max_num_seqs": 64}, 0.1),
        ("--max-num-seqs 64 --max-num-batched-tokens 2048", {"max_num_seqs": 64, "max_num_batched_tokens": 2048}, 0.2),
        ("--gpu-memory-utilization 0.95", {"gpu_memory_utilization": 0.95}, 0.4),
        (
            "--gpu-memory-utilization 0.95 with --max-num-seqs 64",
            {"gpu_memory_utilization": 0.95, "max_num_seqs": 64},
            0.5,
        ),
        ("--enforce-eager (slower decoding)", {"enforce_eager": True}, 2.0),
    ]
    for ranks in (2, 4, 8):
        if (settings.tensor_parallel or 1) < ranks <= count:
            knobs.append((f"--tensor-parallel-size {ranks}", {"tensor_parallel": ranks, "pipeline_parallel": 1}, 0.6))
    if count > 1 and (settings.pipeline_parallel or 1) == 1:
        knobs.append(
            (f"--pipeline-parallel-size {count}", {"tensor_parallel": 1, "pipeline_parallel": count}, 1.5)
        )
    for text, change, cost in knobs:
        try:
            fits = accepted(question, predict(question, **change))
        except Unusable:
            continue
        if fits:
            yield Advice("it fits with {knob}", {"knob": text}, dict(change), cost)  # type: ignore[arg-type]


def _experts_on_cpu(answer: Answer) -> Iterator[Advice]:
    question = answer.question
    if question.settings.engine != "llama.cpp" or question.model.experts is None or question.settings.cpu_moe:
        return
    if answer.prediction.settings.cpu_moe_layers:
        return
    if predict(question, cpu_moe=True).verdict == "partial":
        yield Advice("experts on the CPU (--cpu-moe) fit, several times slower", {}, {"cpu_moe": True}, 4.0)


def _quantizations(answer: Answer) -> Iterator[Advice]:
    from gpudoctor.fit.sources import requantized

    question = answer.question
    ladder = _GGUF if question.model.form == "gguf" else _SAFETENSORS
    now = question.model.weights_bytes
    tried = 0
    for name, cost in ladder:
        tried += 1
        if tried > _TRIED or name == question.model.quantization:
            continue
        smaller = requantized(question.model, name)
        if smaller is None or smaller.weights_bytes >= now * 0.98:
            continue
        other = question._replace(model=smaller, settings=question.settings._replace(quant=name))
        prediction = predict(other)
        if accepted(other, prediction):
            yield Advice(
                "{quant} fits: {size:bytes} of weights",
                {"quant": name, "size": smaller.weights_bytes},
                {"quant": name},
                cost,
            )
            return
        most = largest_context(other)
        if most >= 2048:
            shorter = _context(answer, most, {"quant": name}, cost)
            yield shorter._replace(
                text="{quant} fits with {context} tokens of context", params={"quant": name, "context": most}
            )


def _other_models(question: Question) -> Iterator[Advice]:
    """The largest model of the catalogue that fits at the context asked for: what to pull instead."""
    from gpudoctor.fit import sources
    from gpudoctor.fit.sources.catalogue import index, row

    best: tuple[int, str, Question] | None = None
    most = question.model.parameters or 2**62
    for number in range(len(index().tables)):
        found = row(number)
        if not best or (found.parameters or 0) > best[0]:
            if (found.parameters or most) >= most or (question.model.form == "gguf" and not found.tags):
                continue
            name = found.tags[0] if question.model.form == "gguf" else found.name
            model = sources.load(name, form=question.model.form)
            context = min(question.settings.context or model.context_maximum or 4096, model.context_maximum or 4096)
            settings = question.settings._replace(context=context, quant=None)
            other = question._replace(model=model, settings=settings)
            if accepted(other, predict(other)):
                best = (found.parameters or 0, name, other)
    if best is not None:
        model = best[2].model
        yield Advice(
            "{model} ({quant}, {size:bytes}) is the largest of the catalogue that fits",
            {"model": best[1], "quant": model.quantization, "size": model.weights_bytes},
            {"model": best[1]},
            6.0,
        )


def _more_cards(question: Question) -> Iterator[Advice]:
    """How many of the same GPU hold it, for layer-splitting and tensor-parallel engines alike."""
    hardware = question.hardware
    if hardware.live or len({gpu.name for gpu in hardware.gpus}) != 1:
        return
    gpu = hardware.gpus[0]
    for count in (2, 3, 4, 6, 8):
        if count <= len(hardware.gpus):
            continue
        cards = tuple(gpu._replace(number=i, free_bytes=gpu.usable_bytes) for i in range(count))
        settings = question.settings._replace(tensor_parallel=None)
        larger = question._replace(hardware=hardware._replace(gpus=cards), settings=settings)
        if accepted(larger, predict(larger)):
            yield Advice(
                "{count} x {name} hold it",
                {"count": count, "name": gpu.name},
                {"hardware": f"{count}x {gpu.name}"},
                5.0,
            )
            return
