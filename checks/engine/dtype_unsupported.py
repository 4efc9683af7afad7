"""The model needs bfloat16, and this GPU has none.

## Why it matters
vLLM stops with "Bfloat16 is only supported on GPUs with compute capability of at least 8.0". Most models may run in
float16 instead, which vLLM chooses by itself on older GPUs; a few families may not: gpt-oss computes its MXFP4 experts
in bfloat16 alone, and Gemma 3 overflows in float16.

## How to fix
Serve such a model with Ollama or llama.cpp on this GPU, which compute in other types.

## References
- https://docs.vllm.ai/en/stable/configuration/engine_args.html
- https://huggingface.co/google/gemma-3-27b-it/discussions
- https://github.com/vllm-project/vllm/blob/main/vllm/platforms/cuda.py
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.asked_model import bfloat16_only, chosen_engines, model_for
from gpudoctor.judging.builds import Build, Running, engines_wanted
from gpudoctor.judging.by_build import by_build
from gpudoctor.judging.choices import best, steps
from gpudoctor.judging.cuda_fit import Card, Machinery, dotted, machinery
from gpudoctor.matrices import vllm

#: Values of --dtype that say it all, whatever the model.
_SAID = ("bfloat16", "float32", "float")


@check()
def dtype_unsupported(
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
    """Ask which number format the model needs, and which the oldest GPU has."""
    here = machinery(gpus, driver, pci, host, target)
    builds = engines_wanted(target, python_envs, engines, here, Running(compose, containers))
    yield from by_build(chosen_engines(builds), target, here, _judge)


def _judge(build: Build, target: Target, here: Machinery) -> Finding:
    if build.engine not in ("vllm", "sglang"):
        return skipped(build.subject, "{engine} chooses number formats by the GPU itself", engine=build.engine)
    if not here.cards:
        return skipped(build.subject, "no GPU whose compute capability is known")
    asked = build.workload.flag("--dtype") if build.workload is not None else None
    model = None if asked in _SAID else model_for(target, build.engine)
    oldest = min(here.cards, key=lambda each: each.capability)
    rule = vllm.feature("bfloat16", build.version or "") if build.engine == "vllm" else None
    if build.engine == "vllm" and rule is None:
        return unknown(build.subject, "the matrices do not know {label}", label=build.label)
    floor = (rule.min_capability if rule else None) or (8, 0)
    if asked == "bfloat16" and oldest.capability < floor:
        return _asked(build, oldest, floor)
    if asked in ("float32", "float"):
        return passed(build.subject, "{label} is told to compute in float32, which every GPU has", label=build.label,
                      evidence=saw("--dtype", asked, build.subject))
    if model is None:
        return passed(build.subject, "{label} is told to compute in bfloat16, which {name} has", label=build.label,
                      name=oldest.name, evidence=saw("compute capability", oldest.dotted, oldest.subject))
    if asked in ("half", "float16") and bfloat16_only(model):
        return failed(build.subject, "{label} is told to compute {model} in float16, which it refuses: this family "
                      "needs bfloat16", label=build.label, model=model.name,
                      evidence=(saw("--dtype", asked, build.subject), saw("type of the weights", model.dtype,
                                                                          "catalogue")),
                      fix=step("Take --dtype away: the engine chooses.") if oldest.capability >= floor else
                      step("Serve it with Ollama or llama.cpp on this GPU."))
    seen = (saw("type of the weights", model.dtype, "catalogue"),
            saw("compute capability", oldest.dotted, oldest.subject), saw("bfloat16 from", dotted(floor), "vLLM"))
    if oldest.capability >= floor:
        return passed(build.subject, "{name} has bfloat16", name=oldest.name, evidence=seen)
    return _without(build, model.name, bfloat16_only(model), oldest, here, floor)


def _asked(build: Build, oldest: Card, floor: tuple[int, int]) -> Finding:
    return failed(build.subject, "{label} is told to compute in bfloat16, which starts at compute capability {floor}; "
                  "{name} has {capability}", label=build.label, floor=dotted(floor), name=oldest.name,
                  capability=oldest.dotted,
                  evidence=(saw("--dtype", "bfloat16", build.subject),
                            saw("compute capability", oldest.dotted, oldest.subject)),
                  fix=step("Let it compute in float16: --dtype half."))


def _without(build: Build, model: str, only: bool, oldest: Card, here: Machinery, floor: tuple[int, int]) -> Finding:
    seen = saw("compute capability", oldest.dotted, oldest.subject)
    if not only:
        return passed(build.subject, "{label} runs {model} in float16 on {name}, which has no bfloat16",
                      label=build.label, model=model, name=oldest.name, evidence=seen)
    choice = best("ollama", here)
    return failed(build.subject, "{model} needs bfloat16, which starts at compute capability {floor}; {name} has "
                  "{capability}", model=model, floor=dotted(floor), name=oldest.name, capability=oldest.dotted,
                  evidence=seen, fix=(step("Serve it with Ollama or llama.cpp on this GPU."),
                                      *(steps(choice) if choice else ())))
