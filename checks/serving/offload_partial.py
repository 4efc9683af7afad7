"""An engine computes on the CPU, wholly or in part.

## Why it matters
It answers, but ten to fifty times slower. `offloaded 0/37 layers to GPU` means that no GPU was found or usable:
container without GPU, driver too old for the engine, library missing. `20/81` means that the model did not fit.

Ollama tells for every loaded model how much memory it takes and how much of that lies on GPUs (`/api/ps`: `size`,
`size_vram`); the layers named here are that share of the model's layers.

## How to fix
Find out which: see whether the engine names a GPU at its start, then whether the model fits.

## References
- https://docs.ollama.com/api/ps
- https://docs.ollama.com/troubleshooting
- https://docs.ollama.com/faq
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, noted, passed, saw, skipped, step, warned
from gpudoctor.checking.finding import Evidence, Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Memory
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.serving import Endpoint, ServedModel, Serving
from gpudoctor.judging.served import Machine, held, predicted


@check()
def offload_partial(
    serving: Serving,
    gpus: Gpus | Unavailable,
    memory: Memory | Unavailable,
    driver: Driver | Unavailable,
    containers: Containers | Unavailable,
    pci: Pci | Unavailable,
) -> Iterator[Finding]:
    """Judge each loaded model of which the engine tells where it lies."""
    machine = Machine(gpus, memory, driver, containers)
    told = [(each, model) for each in serving.answering for model in each.loaded
            if model.size_bytes and model.gpu_bytes is not None]
    if not told:
        yield skipped("host", "no engine here tells where a loaded model lies")
    for each, model in told:
        yield _judge(each, model, machine, isinstance(pci, Pci) and not (pci.nvidia_gpus or pci.amd_gpus))


def _judge(each: Endpoint, model: ServedModel, machine: Machine, no_gpu: bool) -> Finding:
    size, on_gpu = model.size_bytes or 1, model.gpu_bytes or 0
    subject = f"model:{model.name}"
    split = _split(each, model, machine)
    source = "ollama ps" if each.origin == "paste" else f"{each.url}/api/ps"
    seen = (saw("size bytes", size, source), saw("of it on GPUs bytes", on_gpu, source), *split)
    if on_gpu >= size:
        return passed(subject, "{model} lies wholly on GPUs", model=model.name, evidence=seen)
    if on_gpu == 0:
        if no_gpu and each.local:
            return noted(subject, "{model} runs on the CPU: this machine has no GPU", model=model.name, evidence=seen)
        return failed(subject, "{model} runs on the CPU alone: 0 of {size:bytes} on a GPU", model=model.name, size=size,
                      evidence=seen, fix=_unseen(each))
    share = on_gpu / size
    layers = round(share * (model.layers + 1)) if model.layers else None
    total = model.layers + 1 if model.layers else None
    if layers is None:
        return warned(subject, "{share:.0%} of {model} lies on GPUs, the rest runs on the CPU", share=share,
                      model=model.name, evidence=seen, fix=_room(each, model, machine))
    return warned(subject, "{share:.0%} of {model} lies on GPUs (about {layers} of {total} layers), the rest runs on "
                  "the CPU", share=share, model=model.name, layers=layers, total=total, evidence=seen,
                  fix=_room(each, model, machine))  # fmt: skip


def _split(each: Endpoint, model: ServedModel, machine: Machine) -> tuple[Evidence, ...]:
    """How the model lies on the GPUs, by NVML, and in layers as fit places them."""
    if isinstance(machine.gpus, Unavailable):
        return ()
    known = tuple(saw(f"held on GPU {h.gpu} bytes", h.bytes_, "NVML") for h in held(each, machine.gpus))
    answer = predicted(each, model, machine) if known else None
    if answer is None or isinstance(answer, Unavailable) or answer.prediction.layers_total is None:
        return known
    counts = [need.layers[1] - need.layers[0] + 1 for need in answer.prediction.gpus if need.layers]
    text = "+".join(map(str, counts)) + f" of {answer.prediction.layers_total}"
    return (*known, saw("layers that fit places on these GPUs", text, "gpudoctor fit"))


def _unseen(each: Endpoint) -> tuple[Step, ...]:
    where = (step("See whether its container has a GPU.", "docker exec {container} nvidia-smi",
                  container=each.container),) if each.container else ()  # fmt: skip
    return (
        *where,
        step("See whether the machine's driver and this engine go together.", "gpudoctor check --for ollama"),
        step("See what the engine says of GPUs at its start.",
             "journalctl -u ollama -b --no-pager | grep -iE 'inference compute|gpu|cuda|driver'"),
    )


def _room(each: Endpoint, model: ServedModel, machine: Machine) -> tuple[Step, ...]:
    ask = step("See what fits.", "gpudoctor fit {name} --engine ollama --max-context", name=model.name)
    answer = predicted(each, model, machine)
    if isinstance(answer, Unavailable):
        return (step("Less context, a smaller KV cache or a smaller quantization makes room."), ask)
    if answer.prediction.verdict == "fits":
        return (step("It fits on these GPUs as they are now: memory was short when it was loaded. Load it anew.",
                     "ollama stop {name}", risk="the next request waits for the load", name=model.name),
                ask)  # fmt: skip
    most = answer.limits.max_context or 0
    if most:
        return (step("At most {most} tokens of context fit on these GPUs.", "OLLAMA_CONTEXT_LENGTH={most} ollama serve",
                     most=most), ask)  # fmt: skip
    return (step("It fits on these GPUs at no context: take a smaller model or quantization, or another GPU."), ask)
