"""An engine's build does not support this GPU's compute capability.

## Why it matters
The engine refuses the GPU, fails at the first kernel ("no kernel image is available"), or serves from the CPU. Each
release draws its own line: vLLM's wheels start at 7.0 up to 0.19 and at 7.5 from 0.20 on;
SGLang starts at 7.5, TGI's kernels at 8.0. "The newest" drops old GPUs, "the known good" may not know new ones.

## How to fix
Take the release or engine that the finding names. On GPUs that vLLM left behind, Ollama and llama.cpp still run.

## References
- https://docs.vllm.ai/en/stable/getting_started/installation/gpu.html
- https://github.com/ollama/ollama/blob/main/docs/gpu.mdx
- https://github.com/vllm-project/vllm/issues/19185
- https://github.com/vllm-project/vllm/issues/20748
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, Target, check, failed, noted, passed, saw, skipped, unknown, warned
from gpudoctor.facts.amd import Amd
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.builds import Build, Running, engines_wanted
from gpudoctor.judging.by_build import by_build
from gpudoctor.judging.choices import best, steps
from gpudoctor.judging.composed import at, vendor
from gpudoctor.judging.cuda_fit import Card, Machinery, dotted, machinery, reach
from gpudoctor.matrices import ollama, tgi, vllm
from gpudoctor.matrices.versions import within


@check()
def gpu_unsupported(
    engines: Engines | Unavailable,
    python_envs: PythonEnvs | Unavailable,
    containers: Containers | Unavailable,
    compose: Compose | Unavailable,
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
    amd: Amd | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Compare each GPU with the lowest compute capability and the code of each engine."""
    here = machinery(gpus, driver, pci, host, target)
    builds = engines_wanted(target, python_envs, engines, here, Running(compose, containers))
    if not builds:
        yield skipped("host", "no engine was named or found; try: gpudoctor check --for vllm==0.33.0")
        return
    radeons = () if isinstance(amd, Unavailable) else amd.gpus
    if not here.cards and not radeons:
        yield skipped("host", "no GPU whose compute capability is known")
        return
    kinds = sorted({gpu.gfx for gpu in radeons if gpu.gfx})
    amd_services = tuple(b for b in builds if b.workload is not None and vendor(b.workload.service) == "amd")
    for build in amd_services:
        place = build.workload.place if build.workload is not None else None
        for gfx in kinds:
            yield at(place, _radeon(build, gfx)) if place is not None else _radeon(build, gfx)

    def judge(build: Build, target: Target, here: Machinery) -> Iterator[Finding]:
        for each in {card.capability: card for card in reversed(here.cards)}.values():
            yield _judge(build, each, here)
        for gfx in kinds if build.workload is None else ():
            yield _radeon(build, gfx)

    yield from by_build((b for b in builds if b not in amd_services), target, here, judge, asks_release=True)


def _judge(build: Build, each: Card, here: Machinery) -> Finding:
    need = build.need
    floor = need.min_compute_capability if need else None
    seen = (saw("compute capability", each.dotted, each.subject),
            saw("oldest supported", dotted(floor) if floor else None, need.source.url if need else "matrices"),
            saw("compiled architectures", build.arch_list, build.where))
    if need is None and not build.arch_list:
        return unknown(build.subject, "the matrices do not know which GPUs {label} supports", label=build.label,
                       evidence=seen)
    if floor is not None and each.capability < floor:
        return failed(build.subject, "{label} does not support {name} (compute capability {capability}): it starts at "
                      "{floor}", label=build.label, name=each.name, capability=each.dotted, floor=dotted(floor),
                      evidence=seen, fix=_ways(build, here))
    if not build.arch_list:
        if floor is None:
            return unknown(build.subject, "which GPUs {label} was compiled for is not in the matrices",
                           label=build.label, evidence=seen)
        return passed(build.subject, "{label} supports {name} ({capability})", label=build.label, name=each.name,
                      capability=each.dotted, evidence=seen)
    if build.engine == "ollama":
        return _ollama(build, each, here)
    found = reach(build.arch_list, build.cuda, each, here.ceiling)
    if found == "none" and build.engine == "tgi":
        return _tgi(build, each, here)
    if found == "none":
        return failed(build.subject, "{label} has no code for {name} (compute capability {capability}); it was "
                      "compiled for {archs}", label=build.label, name=each.name, capability=each.dotted,
                      archs=build.arch_list, evidence=seen, fix=_ways(build, here))
    if found == "doubtful":
        return noted(build.subject, "whether the code of {label} runs on {name} ({capability}) is not promised",
                     label=build.label, name=each.name, capability=each.dotted, evidence=seen)
    if found == "ptx-too-new":
        return skipped(build.subject, "{label} has PTX alone for {name}, newer than the driver: see stack.ptx-too-new",
                       label=build.label, name=each.name)
    if found != "native":
        return noted(build.subject, "{label} reaches {name} ({capability}) only through PTX, which the driver compiles "
                     "at the first start", label=build.label, name=each.name, capability=each.dotted, evidence=seen)
    return passed(build.subject, "{label} has code for {name} ({capability})", label=build.label, name=each.name,
                  capability=each.dotted, evidence=seen)


def _ollama(build: Build, each: Card, here: Machinery) -> Finding:
    """Ollama brings several back ends and takes the newest that driver and GPU allow: one that runs is enough."""
    for runner in ollama.runners(build.version or ""):
        found = reach(runner.arch_list, runner.cuda, each, here.ceiling)
        if found in ("native", "ptx", "doubtful") or not runner.arch_list:
            return passed(build.subject, "{label} has a back end for {name}: {runner}", label=build.label,
                          name=each.name, runner=runner.name,
                          evidence=saw("compiled architectures", runner.arch_list, build.where))
    return failed(build.subject, "{label} has no CUDA back end for {name} (compute capability {capability}) on this "
                  "driver", label=build.label, name=each.name, capability=each.dotted, fix=_ways(build, here),
                  evidence=saw("compiled architectures", build.arch_list, build.where))


def _tgi(build: Build, each: Card, here: Machinery) -> Finding:
    row = tgi.release(build.version or "")
    seen = saw("compiled architectures", build.arch_list, build.where)
    since = dotted(row.flash_attention_from) if row else None
    return warned(build.subject, "{label} has no kernels of its own for {name} ({capability}): it runs without flash "
                  "attention, Marlin and ExLlama, which start at {since}", label=build.label, name=each.name,
                  capability=each.dotted, since=since, evidence=seen, fix=_ways(build, here))


def _radeon(build: Build, gfx: str) -> Finding:
    if build.engine == "ollama" and build.version and within(build.version, ollama.table().rocm_gfx.since, None):
        known, source = ollama.table().rocm_gfx.gfx, ollama.table().rocm_gfx.source
    elif build.engine == "vllm":
        known, source = vllm.table().rocm.gfx, vllm.table().rocm.source
    else:
        return unknown(build.subject, "the matrices do not know whether {label} supports {gfx}", label=build.label,
                       gfx=gfx)
    seen = saw("supported by its ROCm build", known, source)
    if gfx in known:
        return passed(build.subject, "{label} supports {gfx}", label=build.label, gfx=gfx, evidence=seen)
    if build.engine == "ollama":
        return warned(build.subject, "{label} has no ROCm code for {gfx}", label=build.label, gfx=gfx, evidence=seen,
                      fix=Step("Let it use its Vulkan back end.", "export OLLAMA_VULKAN=1"))
    return failed(build.subject, "the ROCm image of {label} has no code for {gfx}", label=build.label, gfx=gfx,
                  evidence=seen, fix=Step("Compile vLLM for this GPU, or use llama.cpp."))


def _ways(build: Build, here: Machinery) -> tuple[Step, ...]:
    found: list[Step] = []
    for engine in dict.fromkeys((build.engine, "ollama")):
        choice = best(engine, here)
        found += steps(choice) if choice else ()
    return tuple(found)
