"""The PyTorch build has no code for this GPU's compute capability.

## Why it matters
The first kernel fails with "no kernel image is available for execution on the device". Machine code for `sm_86` runs
on 8.6 and on later GPUs of the same major version (8.9), never on another; PTX (`compute_90`) is compiled by the driver
for any later GPU. A build may leave out what an older one had: CUDA 13 builds have nothing below 7.5, the default
builds before PyTorch 2.8 nothing for Blackwell. What counts is what was compiled into the installed library, not the
CUDA version.

## How to fix
Install the build named in the finding: PyTorch's own index has several CUDA variants of one release, and the one for
CUDA 12.6 still carries Maxwell to Hopper.

## References
- https://docs.nvidia.com/cuda/cuda-c-programming-guide/#binary-compatibility
- https://github.com/pytorch/pytorch/blob/main/RELEASE.md#release-compatibility-matrix
- https://github.com/vllm-project/vllm/issues/20748
"""

from collections.abc import Iterator

from gpudoctor.checking import (
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
    warned,
)
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.builds import Build, asked, environments, torch_builds
from gpudoctor.judging.choices import best, steps, torch_index
from gpudoctor.judging.cuda_fit import Card, Machinery, machinery, reach
from gpudoctor.matrices.engines import engine_requirement


@check()
def arch_missing(
    python_envs: PythonEnvs | Unavailable,
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Compare each GPU's compute capability with the architectures in the build."""
    here = machinery(gpus, driver, pci, host, target)
    wanted = asked(target, here)
    builds = (*(b for b in wanted if b.engine == "torch"), *torch_builds(environments(python_envs, target)))
    pinned = [b for b in wanted if b.engine in ("vllm", "sglang") and b.image is None and b.need is not None
              and "+" not in (b.version or "")]
    if not builds and not pinned:
        yield skipped("host", "no PyTorch was found in an environment that is in use, and none was asked for")
        return
    if not here.cards:
        yield skipped("host", "no NVIDIA GPU whose compute capability is known")
        return
    for build in builds:
        yield from _judge(build, here)
    for build in pinned:
        yield from _pinned(build, here)


def _judge(build: Build, here: Machinery) -> Iterator[Finding]:
    if build.need is None and not build.arch_list:
        yield unknown(build.subject, "the matrices do not know the architectures of {label}", label=build.label,
                      evidence=saw("build", build.label, build.where))
        return
    if build.cuda is None:
        yield skipped(build.subject, "{label} is no build for CUDA", label=build.label)
        return
    if not build.arch_list:
        yield unknown(build.subject, "which GPUs {label} was compiled for could not be read", label=build.label,
                      evidence=saw("build", build.label, build.where))
        return
    native = True
    for each in _one_per_capability(here.cards):
        found = reach(build.arch_list, build.cuda, each, here.ceiling)
        seen = (saw("compute capability", each.dotted, each.subject),
                saw("compiled architectures", build.arch_list, build.where))
        native = native and found == "native"
        if found == "none":
            choice = best("torch", here)
            yield failed(build.subject, "{label} has no code for {name} (compute capability {capability}); it was "
                         "compiled for {archs}", label=build.label, name=each.name, capability=each.dotted,
                         archs=build.arch_list, evidence=seen, fix=steps(choice) if choice else ())
        elif found == "doubtful":
            yield noted(build.subject, "whether the code of {label} runs on {name} ({capability}) is not promised",
                        label=build.label, name=each.name, capability=each.dotted, evidence=seen)
        elif found == "ptx-too-new":
            yield skipped(build.subject, "{label} has PTX alone for {name}, newer than the driver: see "
                          "stack.ptx-too-new", label=build.label, name=each.name)
        elif found != "native":
            yield noted(build.subject, "{label} reaches {name} ({capability}) only through PTX, which the driver "
                        "compiles at the first start", label=build.label, name=each.name, capability=each.dotted,
                        evidence=seen)
    if native:
        yield passed(build.subject, "{label} has code for every GPU here", label=build.label,
                     evidence=(saw("compiled architectures", build.arch_list, build.where),
                               saw("compute capabilities", tuple(sorted({c.dotted for c in here.cards})), "NVML")))


def _pinned(build: Build, here: Machinery) -> Iterator[Finding]:
    """An engine's wheel may know a GPU that the PyTorch it pins, as PyPI serves it, does not."""
    torch = build.need.torch if build.need else None
    need = engine_requirement("torch", torch, machine=here.machine) if torch else None
    if need is None or not need.arch_list:
        yield skipped(build.subject, "which PyTorch {label} brings is not in the matrices", label=build.label)
        return
    for each in _one_per_capability(here.cards):
        floor = build.need.min_compute_capability if build.need else None
        if floor is not None and each.capability < floor:
            yield skipped(build.subject, "{label} does not support {name} in any case", label=build.label,
                          name=each.name)
            continue
        seen = (saw("compute capability", each.dotted, each.subject),
                saw("architectures of the PyTorch it pins", need.arch_list, need.source.title))
        if reach(need.arch_list, need.cuda, each, here.ceiling) != "none":
            yield passed(build.subject, "torch {torch}, which {label} pins, has code for {name}", torch=torch,
                         label=build.label, name=each.name, evidence=seen)
            continue
        index = torch_index(torch or "", here)
        choice = best(build.engine, here)
        fix = steps(choice) if choice else ()
        if index is None:
            yield failed(build.subject, "torch {torch}, which {label} pins, has no code for {name} (compute capability "
                         "{capability})", torch=torch, label=build.label, name=each.name, capability=each.dotted,
                         evidence=seen, fix=fix)
        else:
            yield warned(build.subject, "torch {torch} from PyPI, which {label} pins, has no code for {name}; its "
                         "build for CUDA {cuda} has", torch=torch, label=build.label, name=each.name, cuda=index[0],
                         channel=index[1], evidence=seen, fix=_with_index(build, index[1]))


def _with_index(build: Build, channel: str) -> tuple[Step, ...]:
    return (step("Let pip take that build.", "pip install {engine}=={version} --extra-index-url "
                 "https://download.pytorch.org/whl/{channel}", engine=build.engine, version=build.version,
                 channel=channel),)


def _one_per_capability(cards: tuple[Card, ...]) -> tuple[Card, ...]:
    return tuple({each.capability: each for each in reversed(cards)}.values())
