"""The model's quantization needs a newer GPU, or another release of the engine.

## Why it matters
vLLM refuses at start: "The quantization method mxfp4 is not supported for the current GPU. Minimum capability: 80".
Each method has a floor of its own that moves with the release: MXFP4 (gpt-oss) 8.0 in every release so far, FP8
checkpoints 8.9, then 8.0, then 7.5, AWQ 7.5. A method may also be newer than the release.

## How to fix
Take the release or the engine that the finding names, or the model in another quantization.

## References
- https://docs.vllm.ai/en/stable/features/quantization/supported_hardware.html
- https://github.com/vllm-project/vllm/tree/main/vllm/model_executor/layers/quantization
"""

from collections.abc import Iterator

from gpudoctor.checking import (
    Evidence,
    Finding,
    Step,
    Target,
    check,
    failed,
    noted,
    passed,
    saw,
    skipped,
    step,
    unknown,
)
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.asked_model import METHODS, chosen_engines, model_for
from gpudoctor.judging.builds import Build, Running, engines_wanted
from gpudoctor.judging.by_build import by_build
from gpudoctor.judging.choices import best, steps
from gpudoctor.judging.cuda_fit import Machinery, dotted, machinery
from gpudoctor.matrices import vllm
from gpudoctor.matrices.versions import within


@check()
def quant_unsupported(
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
    """Compare the oldest GPU with the floor of the model's quantization method in each release."""
    here = machinery(gpus, driver, pci, host, target)
    builds = engines_wanted(target, python_envs, engines, here, Running(compose, containers))
    yield from by_build(chosen_engines(builds), target, here, _judge)


def _judge(build: Build, target: Target, here: Machinery) -> Finding:
    asked = build.workload.flag("--quantization", "-q") if build.workload is not None else None
    if build.engine == "vllm" and asked:
        return _vllm(build, asked, saw("quantization", asked, build.subject), here)
    model = model_for(target, build.engine)
    method = METHODS.get(model.quantization)
    if build.engine in ("ollama", "llama.cpp"):
        return passed(build.subject, "{engine} runs {quantization} on every GPU it supports", engine=build.engine,
                      quantization=model.quantization, evidence=saw("quantization", model.quantization, "catalogue"))
    if method is None:
        return passed(build.subject, "{model} is not quantized", model=model.name,
                      evidence=saw("type of the weights", model.quantization, "catalogue"))
    if build.engine != "vllm":
        return skipped(build.subject, "the matrices have no quantization floors of {engine}", engine=build.engine)
    return _vllm(build, method, saw("quantization", method, "catalogue"), here)


def _vllm(build: Build, method: str, told: Evidence, here: Machinery) -> Finding:
    run = vllm.quantization(method, build.version or "")
    seen = (told, saw("release", build.version, build.where),
            saw("oldest compute capability", dotted(here.lowest) if here.lowest else None, "NVML"))
    if run is None:
        return unknown(build.subject, "the matrices do not tell whether {label} has {method}", label=build.label,
                       method=method, evidence=seen)
    if run.absent:
        return _absent(build, method, run.plugin, here)
    floor = run.min_capability
    if here.lowest is None or floor is None:
        return skipped(build.subject, "no GPU whose compute capability is known")
    if here.lowest < floor:
        if _moves_soon(method, build.version or "", here.lowest):
            return unknown(build.subject, "{method} moved to older GPUs somewhere near {label}; whether this release "
                           "has it was not read", method=method, label=build.label, evidence=seen)
        return failed(build.subject, "{method} in {label} starts at compute capability {floor}; the oldest GPU here "
                      "has {capability}", method=method, label=build.label, floor=dotted(floor),
                      capability=dotted(here.lowest), evidence=seen, fix=_elsewhere(method, here))
    if run.native_from is not None and here.lowest < run.native_from:
        return noted(build.subject, "{method} in {label} is emulated below compute capability {native}",
                     method=method, label=build.label, native=dotted(run.native_from), evidence=seen)
    return passed(build.subject, "{method} in {label} runs on compute capability {capability}", method=method,
                  label=build.label, capability=dotted(here.lowest), evidence=seen)


def _absent(build: Build, method: str, plugin: str | None, here: Machinery) -> Finding:
    seen = saw("release", build.version, build.where)
    if plugin is not None:
        return noted(build.subject, "{label} has {method} only with the plug-in {plugin}", label=build.label,
                     method=method, plugin=plugin, evidence=seen,
                     fix=step("Install the plug-in beside it.", "pip install {plugin}"))
    if _moves_soon(method, build.version or "", None):
        return unknown(build.subject, "{method} came somewhere near {label}; whether this release has it was not read",
                       method=method, label=build.label, evidence=seen)
    return failed(build.subject, "{label} does not have the quantization {method}", label=build.label, method=method,
                  evidence=seen, fix=_elsewhere(method, here))


def _moves_soon(method: str, version: str, capability: tuple[int, int] | None) -> bool:
    """The rows start at releases that were read: a change within the same minor version is open."""
    rows = next((row.runs for row in vllm.table().quantization if row.method == method), ())
    later = next((row for row in rows if not within(version, row.since, None)), None)
    if later is None or later.since.split(".")[:2] != version.split(".")[:2] or later.absent:
        return False
    return capability is None or (later.min_capability or (0, 0)) <= capability


def _elsewhere(method: str, here: Machinery) -> tuple[Step, ...]:
    found: list[Step] = []
    newest = best("vllm", here)
    run = vllm.quantization(method, newest.version) if newest else None
    if newest and run and not run.absent and here.lowest and (run.min_capability or (0, 0)) <= here.lowest:
        found += steps(newest)
    found.append(step("Serve the model with Ollama or llama.cpp on this GPU, or take another quantization."))
    other = best("ollama", here)
    return (*found, *(steps(other) if other else ()))
