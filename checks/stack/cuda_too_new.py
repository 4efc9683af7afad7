"""What shall run was built with a newer CUDA than the driver has.

## Why it matters
Across major versions it fails at the first CUDA call ("CUDA driver version is insufficient for CUDA runtime version"):
CUDA 13 needs driver 580.65.06. Within a major version it runs: an image or wheel of CUDA 12.9 works on driver 535,
whose `nvidia-smi` shows 12.2, because machine code does not depend on the driver's minor version. The exception is PTX
that the newer toolkit made (see stack.ptx-too-new). The "CUDA Version" of `nvidia-smi` is the driver's ceiling: it is
neither an installed toolkit nor a requirement.

## How to fix
Upgrade the driver to the branch named, or take a build for the driver's CUDA major version. On data-centre GPUs an
image may bring `cuda-compat` libraries that carry the newer major version.

## References
- https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
- https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html
- https://github.com/vllm-project/vllm/issues/30633
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, Target, check, failed, passed, saw, skipped, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.builds import Build, Running, all_builds
from gpudoctor.judging.by_build import by_build
from gpudoctor.judging.choices import best, other_vllm_image, steps
from gpudoctor.judging.cuda_fit import Machinery, floor_of, machinery, major, may_carry_newer, reaches
from gpudoctor.judging.remedies import install_driver, reboot


@check()
def cuda_too_new(
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
    """Compare CUDA major versions: the build's against the driver's."""
    here = machinery(gpus, driver, pci, host, target)
    found = all_builds(target, python_envs, engines, here, Running(compose, containers))
    builds = tuple(b for b in found if b.cuda is not None or not b.installed or b.workload is not None)
    if not builds:
        yield skipped("host", "no engine was named or found; try: gpudoctor check --for vllm==0.33.0")
        return
    if here.ceiling is None:
        if here.driver is None:
            yield skipped("host", "no driver is loaded to compare with")
        else:
            yield unknown("host", "the CUDA version of driver {driver} is not known", driver=here.driver,
                          evidence=saw("driver", here.driver, "NVML, /sys/module/nvidia/version"))
        return
    yield from by_build(builds, target, here, lambda build, target, here: _judge(build, here, host))


def _judge(build: Build, here: Machinery, host: Host | Unavailable) -> Finding:
    ceiling = here.ceiling or ""
    seen = (saw("CUDA of the driver", ceiling, "matrices, NVML"), saw("driver", here.driver, "NVML"),
            saw("CUDA of the build", build.cuda, build.where))
    if build.cuda is None and build.need is None:
        return unknown(build.subject, "the CUDA version of {label} is not in the matrices", label=build.label,
                       evidence=seen)
    if build.cuda is None:
        return skipped(build.subject, "{label} names no CUDA version", label=build.label)
    wanted, have = major(build.cuda), major(ceiling)
    if wanted is None or have is None:
        return unknown(build.subject, "CUDA {cuda} of {label} is no version", cuda=build.cuda, label=build.label,
                       evidence=seen)
    if wanted <= have:
        if reaches(ceiling, build.cuda):
            return passed(build.subject, "the driver has CUDA {ceiling}, {label} was built with {cuda}",
                          ceiling=ceiling, label=build.label, cuda=build.cuda, evidence=seen)
        return passed(build.subject, "{label} was built with CUDA {cuda} and runs on the driver's {ceiling}: within "
                      "CUDA {major} machine code does not depend on the minor version", label=build.label,
                      cuda=build.cuda, ceiling=ceiling, major=wanted, evidence=seen)
    floor = floor_of(build.cuda)
    fix: list[Step] = []
    same = other_vllm_image(build.version or "", here) if build.engine == "vllm" else None
    choice = best(build.engine, here)
    for each in (choice, same):
        fix += steps(each) if each else ()
    fix += [*install_driver(host), reboot(host)]
    if build.image is not None and may_carry_newer(here) is not False:
        return warned(build.subject, "{label} was built with CUDA {cuda}, the driver has {ceiling}: it runs at most "
                      "with the image's cuda-compat libraries", label=build.label, cuda=build.cuda, ceiling=ceiling,
                      evidence=seen, fix=fix)
    return failed(build.subject, "{label} was built with CUDA {cuda}, the driver {driver} has {ceiling}; CUDA {major} "
                  "needs driver {floor} or newer", label=build.label, cuda=build.cuda, driver=here.driver,
                  ceiling=ceiling, major=wanted, floor=floor, evidence=seen, fix=fix)
