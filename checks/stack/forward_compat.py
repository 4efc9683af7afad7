"""CUDA's forward-compatibility libraries come first, on a GPU or beside a driver that cannot use them.

## Why it matters
`cuda-compat` carries a newer libcuda for older drivers, on data-centre GPUs alone. On a GeForce every CUDA call then
fails with error 804 ("forward compatibility was attempted on non supported HW"); where the driver is newer than the
copy, with error 803 ("system has unsupported display driver / cuda driver combination"). It is found through
`LD_LIBRARY_PATH` or a file in /etc/ld.so.conf.d that a base image or package left.

## How to fix
Take the folder out of the loader's path.

## References
- https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html
- https://github.com/vllm-project/vllm/issues/4940
- https://github.com/NVIDIA/nvidia-container-toolkit/issues/1093
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, Step, Target, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.toolkits import CompatLibrary, Toolkits
from gpudoctor.judging.cuda_fit import Machinery, machinery, reaches
from gpudoctor.matrices import cuda_driver


@check()
def forward_compat(
    toolkits: Toolkits,
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Judge the compat libcuda that a program would load before the driver's own."""
    here = machinery(gpus, driver, pci, host, target)
    reached = tuple(each for each in toolkits.compat if each.reached is not None)
    if not reached:
        lying = tuple(each.path for each in toolkits.compat)
        yield passed("host", "no compat libcuda comes before the driver's own",
                     evidence=saw("compat libraries that are not on the loader's path", lying, "/usr/local"))
    elif not here.cards or here.driver is None:
        yield skipped("host", "no GPU and driver that a compat libcuda could be judged by")
    else:
        for each in reached:
            yield _judge(each, here, here.driver)


def _judge(each: CompatLibrary, here: Machinery, driver: str) -> Finding:
    rule = cuda_driver.forward_compatibility()
    seen: tuple[Evidence, ...] = (
        saw("compat libcuda", each.path, each.reached or ""), saw("its version", each.version, each.path),
        saw("driver", driver, "NVML, /sys/module/nvidia/version"))
    if each.version is not None and reaches(driver, each.version):
        if driver == each.version:
            return passed("host", "the compat libcuda has the driver's own version", evidence=seen)
        return failed("host", "{path} ({version}) comes before the newer driver's libcuda ({driver}): CUDA error "
                      "{error}", path=each.path, version=each.version, driver=driver, error=rule.error_wrong_driver,
                      evidence=seen, fix=_out(each))
    for card in here.cards:
        able = None if card.kind is None else rule.works_on(card.kind)
        if able is False:
            return failed("host", "{path} comes before the driver's libcuda, and {name} may not use it: CUDA error "
                          "{error}", path=each.path, name=card.name, error=rule.error_unsupported_gpu, evidence=seen,
                          fix=_out(each))
        if able is None:
            return warned("host", "{path} comes before the driver's libcuda; whether {name} may use it is not known",
                          path=each.path, name=card.name, evidence=seen, fix=_out(each))
    return passed("host", "data-centre GPUs may use the compat libcuda {version} on driver {driver}",
                  version=each.version, driver=driver, evidence=seen)


def _out(each: CompatLibrary) -> tuple[Step, ...]:
    folder = each.path.rpartition("/")[0]
    if each.reached == "ld-library-path":
        return (step("Take {folder} out of LD_LIBRARY_PATH where it is set, for this shell:", "unset LD_LIBRARY_PATH",
                     folder=folder),)
    return (step("Find the file that names {folder}.", "grep -rl {folder} /etc/ld.so.conf /etc/ld.so.conf.d",
                 folder=folder),
            step("Delete that line, then write the loader's cache anew.", "sudo ldconfig",
                 risk="changes which libcuda every program loads"))
