"""The driver is too old for the CUDA version that an environment's PyTorch was built with.

## Why it matters
`torch.cuda.is_available()` is False and torch warns "The NVIDIA driver on your system is too old". PyTorch brings its
own CUDA libraries, so an installed toolkit plays no part: only the driver counts, and for it only CUDA's major
version. A build for any CUDA 12 runs on driver 525.60.13 and newer, a build for CUDA 13 needs 580.65.06. The driver
"recommended" for 12.4 or 12.8 came with that toolkit and is no floor.

## How to fix
Upgrade the driver, or install the build of PyTorch for the older CUDA.

## References
- https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
- https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/#cuda-driver
- https://pytorch.org/get-started/locally/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.builds import Build, asked, environments, torch_builds
from gpudoctor.judging.choices import best, steps
from gpudoctor.judging.cuda_fit import Machinery, driver_runs, floor_of, machinery
from gpudoctor.judging.remedies import install_driver, reboot


@check()
def driver_too_old(
    python_envs: PythonEnvs | Unavailable,
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Compare the driver with the floor of the CUDA major version of each build."""
    here = machinery(gpus, driver, pci, host, target)
    wanted = tuple(b for b in asked(target, here) if b.engine == "torch")
    builds = (*wanted, *torch_builds(environments(python_envs, target)))
    if not builds:
        yield skipped("host", "no PyTorch was found in an environment that is in use, and none was asked for")
    for build in builds:
        yield _judge(build, here, host)


def _judge(build: Build, here: Machinery, host: Host | Unavailable) -> Finding:
    if build.cuda is None and (build.installed or build.need is not None):
        return skipped(build.subject, "{label} is no build for CUDA", label=build.label)
    if build.need is None and build.cuda is None:
        return unknown(build.subject, "the matrices do not know {label}", label=build.label,
                       evidence=saw("build", build.label, build.where))
    floor = floor_of(build.cuda)
    seen = (saw("driver", here.driver, "NVML, /sys/module/nvidia/version"),
            saw("CUDA of the build", build.cuda, build.where), saw("oldest driver for it", floor, "matrices"))
    if here.driver is None:
        return skipped(build.subject, "no driver is loaded to compare with; {label} needs {floor} or newer",
                       label=build.label, floor=floor, evidence=seen)
    enough = driver_runs(here, build.cuda, floor)
    if enough is None:
        return unknown(build.subject, "no driver floor is known for CUDA {cuda} of {label}", cuda=build.cuda,
                       label=build.label, evidence=seen)
    if enough:
        return passed(build.subject, "driver {driver} runs {label}: its CUDA {cuda} needs {floor}", driver=here.driver,
                      label=build.label, cuda=build.cuda, floor=floor, evidence=seen)
    choice = best("torch", here)
    fix = (*(steps(choice) if choice else ()), *install_driver(host), reboot(host))
    return failed(build.subject, "driver {driver} is too old for {label}: its CUDA {cuda} needs {floor} or newer",
                  driver=here.driver, label=build.label, cuda=build.cuda, floor=floor, evidence=seen, fix=fix)
