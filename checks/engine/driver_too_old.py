"""The NVIDIA driver is older than an engine's build needs, asked for or installed.

## Why it matters
The engine ends at its first CUDA call, or leaves the GPU aside: Ollama from 0.30.11 on drops GPUs on drivers below 550
(570 for GPUs before Volta) and answers from the CPU without a word. vLLM's wheels and images are built with CUDA 13
from 0.20.0 on and need driver 580.65.06; before that with CUDA 12, for which 525.60.13 is enough, whatever "CUDA
Version" `nvidia-smi` shows.

## How to fix
Upgrade the driver, or take the newest release of the engine that the driver runs: the finding names it.

## References
- https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
- https://github.com/ollama/ollama/blob/main/docs/gpu.mdx
- https://docs.vllm.ai/en/stable/getting_started/installation/gpu.html
"""

from collections.abc import Iterator

from gpudoctor.checking import (
    Finding,
    Step,
    Target,
    check,
    failed,
    passed,
    saw,
    skipped,
    step,
    unknown,
    warned,
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
from gpudoctor.judging.builds import Build, Running, engines_wanted
from gpudoctor.judging.by_build import by_build
from gpudoctor.judging.choices import best, other_vllm_image, steps
from gpudoctor.judging.cuda_fit import Machinery, driver_runs, floor_of, machinery, may_carry_newer
from gpudoctor.judging.remedies import install_driver, reboot


@check(gatekeeper_of="engines")
def driver_too_old(
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
    """Compare the driver with the oldest one that each engine runs on."""
    here = machinery(gpus, driver, pci, host, target)
    builds = engines_wanted(target, python_envs, engines, here, Running(compose, containers))
    if isinstance(engines, Unavailable) and not engines.harmless:
        yield unknown("host", "installed engines could not be read: {reason}", reason=engines.reason)
    elif not builds:
        yield skipped("host", "no engine was named or found; try: gpudoctor check --for vllm==0.33.0")
    if builds and not here.cards and not _nvidia_expected(pci):
        yield skipped("host", "no NVIDIA GPU here whose driver could be too old")
        return
    yield from by_build(builds, target, here, lambda build, target, here: _judge(build, here, host))


def _nvidia_expected(pci: Pci | Unavailable) -> bool:
    return isinstance(pci, Unavailable) or bool(pci.nvidia_gpus)


def _judge(build: Build, here: Machinery, host: Host | Unavailable) -> Finding:
    need = build.need
    floor = (need.min_driver if need else None) or floor_of(build.cuda)
    seen = (saw("driver", here.driver, "NVML, /sys/module/nvidia/version"),
            saw("CUDA of the build", build.cuda, build.where),
            saw("oldest driver for it", floor, need.source.url if need else "matrices"))
    if floor is None or (need is None and not build.cuda):
        return unknown(build.subject, "what {label} asks of the driver is not in the matrices", label=build.label,
                       evidence=seen)
    if here.driver is None:
        return skipped(build.subject, "no driver is loaded to compare with; {label} needs {floor} or newer",
                       label=build.label, floor=floor, evidence=seen)
    enough = driver_runs(here, build.cuda, floor)
    if enough is None:
        return unknown(build.subject, "driver {driver} cannot be compared with {floor}, which {label} needs",
                       driver=here.driver, floor=floor, label=build.label, evidence=seen)
    if enough:
        return passed(build.subject, "driver {driver} is new enough for {label}, which needs {floor}",
                      driver=here.driver, label=build.label, floor=floor, evidence=seen)
    fix = (*_releases(build, here), *install_driver(host), reboot(host))
    if need is not None and not need.driver_checked and driver_runs(here, build.cuda, None) is not False:
        return warned(build.subject, "driver {driver} is older than {floor}, which {label} asks for in its documents",
                      driver=here.driver, floor=floor, label=build.label, evidence=seen, fix=fix)
    if need is not None and need.falls_back_to_cpu:
        return failed(build.subject, "{label} leaves GPUs on driver {driver} aside and runs on the CPU: it needs "
                      "{floor} or newer", driver=here.driver, floor=floor, label=build.label, evidence=seen, fix=fix)
    if build.image is not None and may_carry_newer(here):
        return warned(build.subject, "driver {driver} is below {floor}, which {label} needs: it starts only with the "
                      "image's cuda-compat libraries", driver=here.driver, floor=floor, label=build.label,
                      evidence=seen, fix=(*_compat(build), *fix))
    if build.image is not None and may_carry_newer(here) is None:
        return warned(build.subject, "driver {driver} is below {floor}, which {label} needs; whether these GPUs may "
                      "use the image's cuda-compat libraries is not known", driver=here.driver, floor=floor,
                      label=build.label, evidence=seen, fix=fix)
    return failed(build.subject, "driver {driver} is too old for {label}: its CUDA {cuda} needs {floor} or newer",
                  driver=here.driver, label=build.label, cuda=build.cuda, floor=floor, evidence=seen, fix=fix)


def _releases(build: Build, here: Machinery) -> tuple[Step, ...]:
    found: list[Step] = []
    choice = best(build.engine, here)
    if choice is not None:
        found += steps(choice)
    same = other_vllm_image(build.version or "", here) if build.engine == "vllm" else None
    if same is not None:
        found += steps(same)
    return tuple(found)


def _compat(build: Build) -> tuple[Step, ...]:
    if build.engine != "vllm":
        return ()
    return (step("Start the image with its cuda-compat libraries.",
                 "docker run -e VLLM_ENABLE_CUDA_COMPATIBILITY=1 --gpus all {image}", image=build.image),)
