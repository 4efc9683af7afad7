"""The GPUs that are to work together are of different kinds.

## Why it matters
Tensor parallel splits a model evenly: the smallest memory decides for all, the slowest GPU sets the pace, and kernels
are chosen for one compute capability. Some engines refuse such a set, others hang in it.

## How to fix
Choose GPUs of one kind with `--gpus`. llama.cpp and Ollama can split unevenly.

## References
- https://github.com/noonghunna/club-3090/issues/762
- https://docs.vllm.ai/en/stable/serving/parallelism_scaling.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, known, passed, saw, skipped, step, warned
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.judging.cards import wanted_together


@check()
def mixed_kinds(gpus: Gpus, target: Target) -> Iterator[Finding]:
    """Compare name, memory and compute capability within the set meant for one model."""
    wanted = wanted_together(gpus, target)
    if not wanted:
        yield skipped("host", "not several GPUs are wanted for one model (--gpus, --model)")
        return
    kinds: dict[str, list[Gpu]] = {}
    for gpu in wanted:
        kinds.setdefault(_kind(gpu), []).append(gpu)
    groups = tuple(f"{kind}: GPU {', '.join(str(g.index) for g in members)}" for kind, members in kinds.items())
    capabilities = {known(gpu.compute_capability) for gpu in wanted}
    seen = (saw("kinds", groups, "nvmlDeviceGetName"),
            saw("compute capabilities", tuple(sorted(f"{c[0]}.{c[1]}" for c in capabilities if c is not None)),
                "nvmlDeviceGetCudaComputeCapability"))
    fix = step("Choose GPUs of one kind.", "gpudoctor check --gpus {numbers}",
               numbers=",".join(str(g.index) for g in max(kinds.values(), key=len)))
    if len(kinds) == 1:
        yield passed("host", "the GPUs are of one kind", evidence=seen)
    elif len(capabilities) > 1:
        yield warned("host", "the GPUs for one model differ, in compute capability too: {groups}", groups=groups,
                     evidence=seen, fix=fix)
    else:
        yield warned("host", "the GPUs for one model differ: {groups}", groups=groups, evidence=seen, fix=fix)


def _kind(gpu: Gpu) -> str:
    """Name and memory to the GiB; a few MiB more or less are no other kind."""
    total = known(gpu.memory_total_bytes)
    return gpu.label if total is None else f"{gpu.label} ({round(total / 2**30)} GiB)"
