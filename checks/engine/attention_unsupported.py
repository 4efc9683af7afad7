"""No attention kernel of this engine release serves this model on this GPU.

## Why it matters
gpt-oss needs attention sinks. vLLM 0.10.1 to 0.10.2 had them only from compute capability 8.0 on (FlashAttention 3 on
Hopper, Triton on others); later releases run them with Triton anywhere. Multi-head latent attention (DeepSeek) always
has Triton to fall back on: slower, no fault.

A back end that a flag or variable names is not replaced by one that the GPU has in every release: FlashAttention 2
starts at 8.0, and on older GPUs vLLM says "FlashAttention only supports Ampere GPUs or newer".

## How to fix
Take a release that has such a kernel, or another engine.

## References
- https://github.com/vllm-project/vllm/tree/main/vllm/v1/attention/backends
- https://github.com/vllm-project/vllm/issues/22290
- https://github.com/vllm-project/vllm/issues/9922
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.asked_model import chosen_engines, family, model_for
from gpudoctor.judging.builds import Build, Running, engines_wanted
from gpudoctor.judging.by_build import by_build
from gpudoctor.judging.choices import best, steps
from gpudoctor.judging.cuda_fit import Machinery, dotted, machinery
from gpudoctor.matrices import vllm
from gpudoctor.matrices.versions import within

#: Back ends as the command line names them -> kernels of the matrix.
_KERNELS = {"FLASH_ATTN": "flash-attention-2", "FLASHINFER": "flashinfer"}


@check()
def attention_unsupported(
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
    """Ask which attention the model needs, and on which GPUs each release has it."""
    here = machinery(gpus, driver, pci, host, target)
    builds = engines_wanted(target, python_envs, engines, here, Running(compose, containers))
    yield from by_build(chosen_engines(builds), target, here, _judge)


def _judge(build: Build, target: Target, here: Machinery) -> Finding:
    if build.engine != "vllm":
        return skipped(build.subject, "the matrices have no attention kernels of {engine}", engine=build.engine)
    if here.lowest is None:
        return skipped(build.subject, "no GPU whose compute capability is known")
    forced = _forced(build, here.lowest)
    if forced is not None:
        return forced
    model = model_for(target, build.engine)
    if model.latent is not None:
        kinds = vllm.features(build.version or "", "mla")
        able = tuple(row.name for row in kinds if row.runs_on(here.lowest))
        if able:
            return passed(build.subject, "{label} has kernels for latent attention on {capability}: {able}",
                          label=build.label, capability=dotted(here.lowest), able=able,
                          evidence=saw("kernels", able, "vLLM"))
    if family(model) != "gptoss":
        return passed(build.subject, "{model} needs no attention beyond what {label} has for every GPU",
                      model=model.name, label=build.label,
                      evidence=saw("architecture", model.architecture, "catalogue"))
    sinks = vllm.feature("attention-sinks", build.version or "")
    rows = [row for row in vllm.table().features if row.name == "attention-sinks"]
    if sinks is None and within(build.version or "", rows[0].since, None) and all(r.runs_on(here.lowest) for r in rows):
        sinks = rows[0]  # Between two releases that were read, which agree on this GPU.
    seen = (saw("compute capability", dotted(here.lowest), "NVML"),
            saw("attention sinks from", dotted(sinks.min_capability) if sinks and sinks.min_capability else None,
                "vLLM"))
    if sinks is None:
        return unknown(build.subject, "the matrices do not tell whether {label} has attention sinks",
                       label=build.label, evidence=seen)
    if sinks.runs_on(here.lowest):
        return passed(build.subject, "{label} has attention sinks on {capability}", label=build.label,
                      capability=dotted(here.lowest), evidence=seen)
    choice = best("vllm", here, newer_than=build.version) or best("ollama", here)
    return failed(build.subject, "{label} has no attention sinks below compute capability {floor}, which {model} needs",
                  label=build.label, floor=dotted(sinks.min_capability or (8, 0)), model=model.name, evidence=seen,
                  fix=steps(choice) if choice else ())


def _forced(build: Build, lowest: tuple[int, int]) -> Finding | None:
    """Judge the back end that a container's flag or variable names; None when it names none that is too new."""
    if build.workload is None:
        return None
    flag = build.workload.flag("--attention-backend")
    name = (flag or build.workload.variable("VLLM_ATTENTION_BACKEND") or "").upper()
    kernel = _KERNELS.get(name)
    row = vllm.feature(kernel, build.version or "") if kernel is not None else None
    if row is None or row.runs_on(lowest):
        return None
    where = "--attention-backend" if flag else "VLLM_ATTENTION_BACKEND"
    return warned(build.subject, "{where} asks {label} for {name}, which starts at compute capability {floor}; the GPU "
                  "has {capability}: it stops at the start or takes another one", where=where, label=build.label,
                  name=name, floor=dotted(row.min_capability or (8, 0)), capability=dotted(lowest),
                  evidence=(saw(where, name, build.subject), saw("compute capability", dotted(lowest), "NVML")),
                  fix=step("Take it away: the engine chooses one that this GPU has."))
