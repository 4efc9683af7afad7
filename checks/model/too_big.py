"""The model named with --model does not fit on the chosen GPUs.

## Why it matters
An engine that finds too little memory stops after the download and minutes of loading, or leaves layers on the CPU
without saying so and answers many times slower.

## How to fix
`gpudoctor fit MODEL` shows the whole arithmetic for this machine and what does fit: another context, cache type,
quantization or number of GPUs, each with the flags to set.

## References
- https://docs.vllm.ai/en/stable/configuration/conserving_memory.html
- https://github.com/ollama/ollama/blob/main/docs/faq.mdx
"""

from collections.abc import Iterator

import msgspec

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Memory
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.fit.settings import ENGINES


@check()
def too_big(gpus: Gpus, memory: Memory | Unavailable, target: Target) -> Iterator[Finding]:
    """Judge the model on the chosen GPUs with the engine wished for, or the usual one."""
    from gpudoctor.fit.ask import ask
    from gpudoctor.fit.model import Unusable

    model = target.model
    if model is None:
        yield skipped("host", "no model is named: --model judges one")
        return
    wish = next((wish for wish in target.engines if wish.name in ENGINES), None)
    facts = msgspec.structs.replace(Snapshot(), gpus=gpus, memory=memory)
    try:
        answer = ask(model, wish.name if wish else None, wish.version if wish else None, facts, target.gpus)
    except Unusable as problem:
        yield unknown("host", "{model} could not be judged: {problem}", model=model, problem=problem.message,
                      fix=step("Name it as gpudoctor fit does: an Ollama tag, a file, a folder or a hub id."))
        return
    prediction, engine = answer.prediction, answer.question.settings.engine or ""
    context = prediction.settings.context
    needed = max((need.least or 0 for need in prediction.gpus), default=0)
    seen = saw("needed on the fullest GPU bytes", needed, "gpudoctor fit")
    more = step("See the arithmetic and what does fit.", "gpudoctor fit {model} --engine {engine}")
    if prediction.verdict == "fits":
        yield passed("host", "{model} fits with {engine} at {context} tokens, {left:bytes} left on the fullest GPU",
                     model=model, engine=engine, context=context, left=prediction.margin_bytes, evidence=seen)
    elif prediction.verdict == "partial":
        yield warned("host", "{on} of {total} layers of {model} fit on the GPUs with {engine} at {context} tokens; the "
                     "rest runs on the CPU", on=prediction.layers_on_gpu, total=prediction.layers_total, model=model,
                     engine=engine, context=context, evidence=seen, fix=more)
    elif prediction.verdict == "does-not-fit":
        yield failed("host", "{model} does not fit with {engine} at {context} tokens: a GPU would need {needed:bytes}",
                     model=model, engine=engine, context=context, needed=needed, evidence=seen, fix=more)
    else:
        yield skipped("host", "{engine} cannot run {model} here, whatever its size", engine=engine, model=model)
