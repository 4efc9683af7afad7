"""The image asks for a newer CUDA than the host's driver has.

## Why it matters
Images on NVIDIA's CUDA base carry a requirement such as `cuda>=12.8`, and the container toolkit refuses to start them
on an older driver. Within one CUDA major the programs inside would mostly run all the same: the requirement is the
base image's, not the engine's.

## How to fix
Update the driver on the host; or take an image of the engine on an older CUDA, or its wheel.

## References
- https://github.com/vllm-project/vllm/issues/5635
- https://docs.nvidia.com/deploy/cuda-compatibility/
"""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.checking import Finding, check, failed, need, noted, passed, saw, skipped, step, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Container, Containers, Docker
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.judging.gpu_containers import meant_for_gpus
from gpudoctor.judging.image_requirement import satisfied, wanted_cuda
from gpudoctor.judging.remedies import install_driver
from gpudoctor.matrices import cuda_driver


class _Here(NamedTuple):
    driver: str
    cuda: str


@check()
def image_cuda(
    containers: Containers,
    docker: Docker,
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    host: Host | Unavailable,
) -> Iterator[Finding]:
    """Hold NVIDIA_REQUIRE_CUDA of each GPU container's image against the driver."""
    found = {c.image: c for c in reversed(containers.containers)
             if meant_for_gpus(c, docker) and not isinstance(c.image_facts, Unavailable) and c.image_facts.requires}
    if not found:
        yield skipped("host", "no GPU container's image states a CUDA requirement")
        return
    version = need(driver.loaded_version) if isinstance(driver, Driver) else None
    ceiling = cuda_driver.max_cuda(version) if version else None
    if ceiling is None and isinstance(gpus, Gpus) and isinstance(gpus.cuda_version, int):
        ceiling = f"{gpus.cuda_version // 1000}.{gpus.cuda_version % 1000 // 10}"
    if version is None or ceiling is None:
        yield unknown("host", "the driver's version or its CUDA is not known, so no image can be held against it")
        return
    for each in found.values():
        yield _judge(each, _Here(version, ceiling), host)


def _judge(each: Container, here: _Here, host: Host | Unavailable) -> Finding:
    facts = each.image_facts
    requires = "" if isinstance(facts, Unavailable) else facts.requires or ""
    wanted = wanted_cuda(requires) or "of another version"
    seen = (saw("NVIDIA_REQUIRE_CUDA", requires, each.image), saw("driver", here.driver, "/sys/module/nvidia/version"),
            saw("newest CUDA of this driver", here.cuda, "matrices"))
    met = satisfied(requires, here.cuda, here.driver)
    if met:
        return passed(each.subject, "the driver meets what {image} requires", image=each.image, evidence=seen)
    if met is None:
        return skipped(each.subject, "what {image} requires depends on the kind of GPU", image=each.image,
                       evidence=seen)
    if "NVIDIA_DISABLE_REQUIRE" in each.environment or each.running or each.done:
        return noted(each.subject, "{image} states CUDA {wanted}, this driver has {cuda}; it was started all the same",
                     image=each.image, wanted=wanted, cuda=here.cuda, evidence=seen)
    return failed(each.subject, "{image} requires CUDA {wanted}, this driver has {cuda}: the container toolkit refuses "
                  "to start it", image=each.image, wanted=wanted, cuda=here.cuda, evidence=seen,
                  fix=(*install_driver(host), step("Or take a tag of the image for an older CUDA.")))
