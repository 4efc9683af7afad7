"""What ``fit`` says of the model and the GPUs that a paste names, were nothing else on these GPUs."""

import re
from collections import Counter
from typing import NamedTuple

from gpudoctor.checking.finding import Step, step
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.serving import Serving
from gpudoctor.facts.signatures import PASTED_OLLAMA, Signatures
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.engine_flags import number

#: More GPUs than this stand in no machine.
_MAX_GPUS = 16
#: What is put into a command: nothing that a shell would take for more than a name.
_NAME = re.compile(r"[\w.\-/:@]{1,200}")
_CARD = re.compile(r"[\w .\-()]{1,80}")


class Start(NamedTuple):
    """What an engine was started with, as far as the paste tells."""

    engine: str | None
    model: str | None
    settings: dict[str, str]


class Fit(NamedTuple):
    """The most context that fits with so many GPUs; None where it fits at none."""

    start: Start
    model: str
    gpus: str
    parallel: int
    most: int | None


def start_of(log: Signatures, facts: Snapshot, engine: str | None) -> Start:
    """Return the start that the paste tells of."""
    told = {name.removeprefix("start "): value for name, value in log.stated.items() if name.startswith("start ")}
    model = told.get("model") or log.stated.get("model")
    if engine in (None, "ollama") and isinstance(facts.serving, Serving):
        loaded = [m.name for e in facts.serving.endpoints if e.url == PASTED_OLLAMA for m in e.loaded]
        model = model or (loaded[0] if len(loaded) == 1 else None)
    for name, key in (("tensor_parallel", "tensor parallel"), ("gpu_memory_utilization", "gpu memory utilization")):
        if key in log.stated:
            told.setdefault(name, log.stated[key])
    if model is not None and _NAME.fullmatch(model) is None:
        model = None
    return Start(told.get("engine") or engine, model, told)


def cards(facts: Snapshot) -> str | None:
    """Return the GPUs as ``fit --hardware`` takes them, None where the paste names none."""
    if not isinstance(facts.gpus, Gpus):
        return None
    names = Counter(str(gpu.name).removeprefix("NVIDIA ") for gpu in facts.gpus.gpus if isinstance(gpu.name, str))
    if not all(_CARD.fullmatch(name) for name in names):
        return None
    return " + ".join(f"{count}x {name}" for name, count in names.items()) or None


def fitting(start: Start, facts: Snapshot) -> Fit | None:
    """Ask fit with the GPUs the start used, then with more; None where model or GPUs are not known to it."""
    from gpudoctor.fit.answer import answer
    from gpudoctor.fit.hardware import Hardware, named
    from gpudoctor.fit.model import Unusable
    from gpudoctor.fit.newest import newest
    from gpudoctor.fit.question import Question
    from gpudoctor.fit.settings import Settings
    from gpudoctor.fit.sources.names import parse
    from gpudoctor.fit.sources.resolve import from_catalogue

    hardware, engine = cards(facts), start.engine
    parsed = parse(start.model) if start.model else None
    if hardware is None or parsed is None or engine is None:
        return None
    share = start.settings.get("gpu_memory_utilization", "")
    try:
        model = from_catalogue(parsed, None, None, "gguf" if engine == "ollama" else "safetensors")
        gpus = named(hardware)[0][:_MAX_GPUS]
        if model is None or not gpus:
            return None
        asked = number(start.settings, "tensor_parallel") or (len(gpus) if engine == "ollama" else 1)
        tried = [asked] if engine == "ollama" else [n for n in range(asked, len(gpus) + 1) if n % asked == 0]
        for count in [n for n in tried if 0 < n <= len(gpus)]:
            settings = Settings(
                engine=engine,
                version=start.settings.get("version") or newest(engine),
                tensor_parallel=None if engine == "ollama" else count,
                gpu_memory_utilization=float(share) if share.replace(".", "", 1).isdigit() else None,
                enforce_eager="enforce_eager" in start.settings,
            )
            found = answer(Question(model, settings, Hardware(gpus[:count], live=False)), advise=False)
            if found.limits.max_context is None:
                return None
            if found.limits.max_context:
                return Fit(start, model.name, hardware, count, found.limits.max_context)
        return Fit(start, model.name, hardware, tried[-1] if tried else asked, None) if tried else None
    except (Unusable, ValueError, OverflowError):
        return None


def steps_of(fit: Fit) -> tuple[Step, ...]:
    """Put the answer into steps: the longest context, or that nothing helps but a smaller model."""
    asked = number(fit.start.settings, "tensor_parallel") or 1
    ask = step("See what fits, and at what speed.", _ASK, model=fit.start.model, gpus=fit.gpus)
    if fit.most is None:
        return (step("{model} fits on {gpus} at no context: take a smaller model or quantization, or more GPUs.",
                     model=fit.model, gpus=fit.gpus), ask)  # fmt: skip
    wanted = number(fit.start.settings, "context")
    if wanted is not None and fit.parallel <= asked and wanted <= fit.most:
        return (step("With nothing else on the GPUs the {wanted} tokens that were asked for fit, and at most {most}: "
                     "see what else holds their memory.", _HOLDERS, wanted=wanted, most=fit.most), ask)  # fmt: skip
    if fit.start.engine == "ollama":
        return (step("With nothing else on them, {gpus} hold {model} with at most {most} tokens of context.",
                     "OLLAMA_CONTEXT_LENGTH={most} ollama serve", gpus=fit.gpus, model=fit.model, most=fit.most), ask)
    if fit.parallel > asked:
        words = "It does not fit on {asked} of the GPUs; on {parallel} it does, with at most {most} tokens of context."
    else:
        words = "With nothing else on the {parallel} GPUs in use, at most {most} tokens of context fit."
    return (
        step(words, _LAUNCH.get(fit.start.engine or "", _LAUNCH["vllm"]), asked=asked, parallel=fit.parallel,
             most=fit.most, model=fit.start.model),
        ask,
    )  # fmt: skip


def ask_fit(start: Start, facts: Snapshot) -> Step:
    """Say how to ask fit, with as much filled in as the paste names."""
    hardware = cards(facts)
    if hardware is None:
        return step("See what fits on these GPUs before the next start.", "gpudoctor fit {model} --context max",
                    model=start.model or "MODEL")
    return step("See what fits on these GPUs before the next start.", _ASK, model=start.model or "MODEL", gpus=hardware)


_HOLDERS = "nvidia-smi --query-compute-apps=gpu_uuid,pid,process_name,used_memory --format=csv"
_ASK = "gpudoctor fit {model} --hardware {gpus} --context max"
_LAUNCH = {
    "vllm": "vllm serve {model} --tensor-parallel-size {parallel} --max-model-len {most}",
    "sglang": "python -m sglang.launch_server --model-path {model} --tp {parallel} --context-length {most}",
    "tgi": "text-generation-launcher --model-id {model} --num-shard {parallel} --max-total-tokens {most}",
}  # fmt: skip


