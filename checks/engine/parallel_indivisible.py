"""The model's heads cannot be divided over as many GPUs as were chosen.

## Why it matters
Tensor parallelism gives each GPU an equal number of attention heads: "Total number of attention heads (64) must be
divisible by tensor parallel size (5)". KV heads must divide too, or be copied evenly. The engine stops at start.

## How to fix
Choose one of the sizes in the finding, or split the model by layers (pipeline parallelism, Ollama, llama.cpp).

## References
- https://docs.vllm.ai/en/stable/serving/parallelism_scaling.html
- https://github.com/vllm-project/vllm/blob/main/vllm/config/model.py
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.asked_model import chosen_engines, model_for
from gpudoctor.judging.builds import Build, Running, engines_wanted
from gpudoctor.judging.by_build import by_build
from gpudoctor.judging.cuda_fit import Machinery, machinery


@check()
def parallel_indivisible(
    engines: Engines | Unavailable,
    python_envs: PythonEnvs | Unavailable,
    containers: Containers | Unavailable,
    compose: Compose | Unavailable,
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Divide attention heads and KV heads by the number of GPUs named with --gpus, or by the engine's own flag."""
    here = machinery(gpus, driver, pci, host, target)
    builds = engines_wanted(target, python_envs, engines, here, Running(compose, containers))
    yield from by_build(chosen_engines(builds), target, here, _judge)


def _judge(build: Build, target: Target, here: Machinery) -> Finding:
    from gpudoctor.fit.engines.sharding import head_problem

    model = model_for(target, build.engine)
    if build.engine not in ("vllm", "sglang", "tgi"):
        return skipped(build.subject, "{engine} splits a model by layers", engine=build.engine)
    told = build.workload.asked.settings.tensor_parallel or 1 if build.workload and build.workload.asked else None
    chosen = told is not None or target.gpus is not None
    count = told or (len(target.gpus) if target.gpus is not None else len(here.cards))
    if count < 2:
        return skipped(build.subject, "one GPU needs no division")
    what = head_problem(model, count)
    seen = (saw("attention heads", model.heads, "catalogue"), saw("KV heads", model.kv_heads, "catalogue"),
            saw("GPUs", count, "its flags" if told else "--gpus" if chosen else "NVML"))
    if what is None:
        return passed(build.subject, "{heads} attention heads and {kv_heads} KV heads divide over {count} GPUs",
                      heads=model.heads, kv_heads=model.kv_heads, count=count, evidence=seen)
    able = tuple(n for n in range(1, max(count, 2)) if head_problem(model, n) is None)
    fix = (step("Use a tensor-parallel size of {able}.", "--tensor-parallel-size {largest}", able=able,
                largest=max(able)),
           step("Or divide the layers, not the heads.", "--pipeline-parallel-size {count}", count=count))
    if chosen:
        return failed(build.subject, "{what} of {model} cannot be divided over the {count} GPUs chosen", what=what,
                      model=model.name, count=count, evidence=seen, fix=fix)
    return warned(build.subject, "{what} of {model} cannot be divided over all {count} GPUs", what=what,
                  model=model.name, count=count, evidence=seen, fix=fix)
