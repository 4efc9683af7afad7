"""A build reaches this GPU only through PTX of a newer CUDA than the driver can compile.

## Why it matters
Where a build has no machine code for a GPU, the driver compiles its PTX, and it knows only the PTX of its own CUDA
version or older: "the provided PTX was compiled with an unsupported toolchain" (error 222). It is the one exception
from minor-version compatibility, and it concerns only GPUs that the build has no machine code for.

## How to fix
Upgrade the driver to one that has the build's CUDA, or take a build with machine code for this GPU.

## References
- https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html#limitations-and-caveats
- https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, Target, check, failed, passed, saw, skipped, step, warned
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
from gpudoctor.judging.choices import best, newest_bundled_driver, steps
from gpudoctor.judging.cuda_fit import Card, Machinery, driver_runs, machinery, reach
from gpudoctor.judging.remedies import install_driver, reboot


@check()
def ptx_too_new(
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
    """Find GPUs for which a build has PTX alone, and compare its CUDA with the driver's."""
    here = machinery(gpus, driver, pci, host, target)
    found = all_builds(target, python_envs, engines, here, Running(compose, containers))
    builds = tuple(b for b in found if b.engine != "ollama" and (b.arch_list or b.workload is not None))
    if not builds or not here.cards or here.ceiling is None:
        yield skipped("host", "no build whose code for the GPUs here is known")
        return
    yield from by_build(builds, target, here, lambda build, target, here: _of(build, here, host))


def _of(build: Build, here: Machinery, host: Host | Unavailable) -> Finding:
    if not build.arch_list:
        return skipped(build.subject, "for which GPUs {label} was compiled is not in the matrices", label=build.label)
    if driver_runs(here, build.cuda, None) is False:
        return skipped(build.subject, "the driver is too old for {label} in any case", label=build.label)
    found = {each: reach(build.arch_list, build.cuda, each, here.ceiling) for each in here.cards}
    hit = next((each for each, how in found.items() if how == "ptx-too-new"), None)
    if hit is not None:
        return _judge(build, hit, here, host)
    return passed(build.subject, "no GPU here needs PTX of {label} that the driver could not compile",
                  label=build.label, evidence=saw("compiled architectures", build.arch_list, build.where))


def _judge(build: Build, each: Card, here: Machinery, host: Host | Unavailable) -> Finding:
    seen = (saw("compute capability", each.dotted, each.subject), saw("CUDA of the driver", here.ceiling, "matrices"),
            saw("CUDA of the build", build.cuda, build.where),
            saw("compiled architectures", build.arch_list, build.where))
    choice = best(build.engine, here)
    came_with = newest_bundled_driver(build.cuda or "")
    words: tuple[Step, ...] = (
        step("Driver {driver} and newer have CUDA {cuda}.", driver=came_with, cuda=build.cuda),) if came_with else ()
    fix = (*(steps(choice) if choice else ()), *words, *install_driver(host), reboot(host))
    if build.engine == "torch" and build.installed:
        return failed(build.subject, "{label} reaches {name} ({capability}) only through PTX of CUDA {cuda}, which the "
                      "driver's CUDA {ceiling} cannot compile", label=build.label, name=each.name,
                      capability=each.dotted, cuda=build.cuda, ceiling=here.ceiling, evidence=seen, fix=fix)
    return warned(build.subject, "{label} has PTX of CUDA {cuda} alone for {name} ({capability}), which the driver's "
                  "CUDA {ceiling} cannot compile", label=build.label, name=each.name, capability=each.dotted,
                  cuda=build.cuda, ceiling=here.ceiling, evidence=seen, fix=fix)
