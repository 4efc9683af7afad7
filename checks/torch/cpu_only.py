"""An environment's PyTorch is a build without support for the GPUs here.

## Why it matters
`torch.cuda.is_available()` is False, and an engine on top of it stops or runs on the CPU. It happens when pip found
no GPU build: the default index serves CPU builds for aarch64 up to PyTorch 2.10, and `--index-url .../whl/cpu` or a
conda solver's choice brings one on any machine. pip's own version (`pip show torch`) never says `+cu128`, so its
absence there is no sign of a CPU build: torch/version.py decides.

## How to fix
Reinstall the same release from the index that has it for this driver and GPU.

## References
- https://pytorch.org/get-started/locally/
- https://github.com/pytorch/pytorch/blob/main/RELEASE.md#release-compatibility-matrix
"""

from collections.abc import Iterator

from gpudoctor.checking import (
    Evidence,
    Finding,
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
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs, TorchBuild
from gpudoctor.judging.builds import Build, asked, environments, subject_of, used
from gpudoctor.judging.choices import best, steps
from gpudoctor.judging.cuda_fit import Machinery, machinery


@check(gatekeeper_of="python_envs")
def cpu_only(
    python_envs: PythonEnvs | Unavailable,
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Read torch/version.py's own words on CUDA and ROCm."""
    here = machinery(gpus, driver, pci, host, target)
    for build in asked(target, here):
        if build.engine == "torch" and build.need is not None:
            yield _wheel(build, here)
    if isinstance(python_envs, Unavailable):
        if python_envs.harmless:
            yield skipped("host", "no Python environments to judge: {reason}", reason=python_envs.reason)
        else:
            yield unknown("host", "Python environments could not be read: {reason}", reason=python_envs.reason)
        return
    amd = not isinstance(pci, Unavailable) and bool(pci.amd_gpus)
    if not here.cards and not amd:
        yield skipped("host", "no GPU for which a build could be wrong")
        return
    meant = environments(python_envs, target)
    others = tuple(e for e in python_envs.environments if e.torch is not None and e not in meant and not e.in_image)
    yield from _images(python_envs)
    for each in meant:
        if isinstance(each.torch, Unavailable):
            yield unknown(subject_of(each), "PyTorch in {path} could not be read: {reason}", path=each.path,
                          reason=each.torch.reason)
        elif each.torch is not None:
            yield _judge(each, each.torch, here, amd)
    for each in others:
        if isinstance(each.torch, TorchBuild) and each.torch.cpu_only:
            yield noted(subject_of(each), "PyTorch {version} in {path} is a CPU build; nothing here runs models with "
                        "it", version=each.torch.version, path=each.path, evidence=_seen(each.torch))
    if not any(each.torch is not None for each in (*meant, *others)):
        yield skipped("host", "no environment has PyTorch ({count} looked at)",
                      count=len(python_envs.environments))
    elif not meant:
        yield passed("host", "no environment with an engine or in use has a CPU build of PyTorch")


def _images(envs: PythonEnvs) -> Iterator[Finding]:
    held = [f"{p.name} {p.version}" for each in envs.environments if each.in_image for p in each.engines]
    if held:
        yield noted("host", "container images on disk hold {engines}; an image is judged once it runs or is named",
                    engines=tuple(sorted(set(held))), evidence=saw("engines in images", tuple(held), "image layers"),
                    fix=step("Name the one that shall run.", "gpudoctor check --for vllm/vllm-openai:TAG"))


def _seen(build: TorchBuild) -> tuple[Evidence, ...]:
    source = f"{build.path}/version.py"
    cuda, hip = build.cuda, build.hip
    return (saw("torch", build.version, source),
            saw("CUDA of the build", cuda.reason if isinstance(cuda, Unavailable) else cuda, source),
            saw("ROCm of the build", hip.reason if isinstance(hip, Unavailable) else hip, source))


def _judge(each: PythonEnvironment, build: TorchBuild, here: Machinery, amd: bool) -> Finding:
    seen, subject = _seen(build), subject_of(each)
    if build.cpu_only is None:
        return unknown(subject, "whether PyTorch {version} in {path} is a GPU build could not be read",
                       version=build.version, path=each.path, evidence=seen)
    wrong = not build.cpu_only and ((build.cuda is None and not amd) or (build.hip is None and not here.cards))
    if not build.cpu_only and not wrong:
        return passed(subject, "PyTorch {version} in {path} is a GPU build", version=build.version, path=each.path,
                      evidence=seen)
    choice = best("torch", here) if here.cards else None
    fix = steps(choice) if choice else ()
    if wrong:
        return failed(subject, "PyTorch {version} in {path} is built for another maker's GPUs than the ones here",
                      version=build.version, path=each.path, evidence=seen, fix=fix)
    if each.engines or used(each):
        return failed(subject, "PyTorch {version} in {path} is a CPU build: it uses no GPU", version=build.version,
                      path=each.path, evidence=seen, fix=fix)
    return warned(subject, "PyTorch {version} in {path} is a CPU build", version=build.version, path=each.path,
                  evidence=seen, fix=fix)


def _wheel(build: Build, here: Machinery) -> Finding:
    seen = (saw("CUDA of the build", build.cuda, build.where), saw("machine", here.machine, "host"))
    if build.cuda is not None:
        return passed("host", "{label} is a build for CUDA {cuda}", label=build.label, cuda=build.cuda, evidence=seen)
    choice = best("torch", here)
    return failed("host", "{label} is a CPU build on {machine}: it uses no GPU", label=build.label,
                  machine=here.machine, evidence=seen, fix=steps(choice) if choice else ())
