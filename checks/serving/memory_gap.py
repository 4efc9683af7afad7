"""An engine holds much more, or much less, GPU memory than fit says that it needs.

## Why it matters
More than predicted: another context, cache type or number of slots than its owner thinks, or a process that was left
behind. Much less: layers are on the CPU, or another model answers under this name. Engines that take a share of the GPU
beforehand (vLLM, SGLang) are compared with that share.

Judged only where fit's catalogue knows the model, and NVML tells the memory of every process of the engine; of Ollama
its own word is taken where NVML tells nothing.

## How to fix
Compare context, slots and cache type with what was meant; `gpudoctor fit` shows every term.

## References
- https://docs.vllm.ai/en/latest/configuration/conserving_memory/
- https://docs.ollama.com/faq
- https://docs.ollama.com/api/ps
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Memory
from gpudoctor.facts.serving import Endpoint, Serving
from gpudoctor.judging.served import Machine, held, predicted, settings_of, working


@check()
def memory_gap(
    serving: Serving,
    gpus: Gpus | Unavailable,
    memory: Memory | Unavailable,
    driver: Driver | Unavailable,
    containers: Containers | Unavailable,
    policy: Policy,
) -> Iterator[Finding]:
    """Compare the memory of each endpoint with the sum of what fit says of its loaded models."""
    machine = Machine(gpus, memory, driver, containers)
    here = [each for each in serving.answering if each.local and each.loaded]
    if not here or isinstance(gpus, Unavailable):
        yield skipped("host", "no engine of this machine has a model loaded whose memory NVML tells")
        return
    for each in here:
        yield _judge(each, gpus, machine, policy["memory_gap_share"])


def _judge(each: Endpoint, gpus: Gpus, machine: Machine, share: float) -> Finding:
    parts = working(held(each, gpus))
    sizes = [part.bytes_ for part in parts]
    # Where NVML hides processes (WSL, another user's), Ollama itself tells, without the CUDA contexts.
    hidden = not parts or None in sizes
    own = [model.gpu_bytes for model in each.loaded] if each.engine == "ollama" and hidden else []
    if own and all(model.gpu_bytes and model.gpu_bytes == model.size_bytes for model in each.loaded):
        sizes = own
    elif hidden:
        return skipped(each.subject, "NVML does not tell how much memory its processes hold")
    flags = settings_of(each, machine.containers)
    if each.engine in ("vllm", "sglang") and (not flags or "config" in flags):
        return skipped(each.subject, "the share of the GPUs that {engine} was started with is not known",
                       engine=each.engine)
    needed, error = 0, 0
    for model in each.loaded:
        answer = predicted(each, model, machine)
        if isinstance(answer, Unavailable):
            return skipped(each.subject, "what {model} needs is not known: {reason}", model=model.name,
                           reason=answer.reason)
        totals = [need.total for need in answer.prediction.gpus]
        if answer.prediction.verdict not in ("fits", "partial") or None in totals:
            return skipped(each.subject, "fit has no figure for {model} with these settings", model=model.name)
        needed += sum(size or 0 for size in totals)
        needed -= sum(need.overhead or 0 for need in answer.prediction.gpus) if own else 0
        error += max(answer.prediction.error) * len(totals)
    have = sum(size or 0 for size in sizes)
    seen = (saw("held bytes", have, f"{each.url}/api/ps" if own else "NVML"),
            saw("fit says bytes", needed, "gpudoctor fit"),
            saw("fit's own error bytes", error, "gpudoctor fit"))
    more = step("See every term of the figure.", "gpudoctor fit {name} --engine {engine} --explain",
                name=each.loaded[0].name, engine=each.engine)
    if have > needed * (1 + share) + error:
        return warned(each.subject, "{engine} holds {have:bytes} of GPU memory, {gap:bytes} more than the "
                      "{needed:bytes} that its models need with these settings",
                      engine=each.engine, have=have, needed=needed, gap=have - needed, evidence=seen,
                      fix=(step("Compare context, slots and cache type with what you meant."), more))  # fmt: skip
    if have < needed * (1 - share) - error:
        return noted(each.subject, "{engine} holds {have:bytes} of GPU memory, {gap:bytes} less than the "
                     "{needed:bytes} that its models need with these settings",
                     engine=each.engine, have=have, needed=needed, gap=needed - have, evidence=seen,
                     fix=more)  # fmt: skip
    return passed(each.subject, "{engine} holds {have:bytes} of GPU memory, fit says {needed:bytes}",
                  engine=each.engine, have=have, needed=needed, evidence=seen)
