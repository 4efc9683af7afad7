"""A service asks for a GPU that this machine does not have.

## Why it matters
The container does not start: "unknown device", "unresolvable CDI devices", or a hook that names the number. After a
GPU was moved or has died, the indices of the others change as well.

## How to fix
Name GPUs that are here; a UUID (`nvidia-smi -L`) stays the same when cards are moved.

## References
- https://docs.docker.com/compose/how-tos/gpu-support/
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/cdi-support.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, Service
from gpudoctor.facts.docker import Docker
from gpudoctor.facts.gpus import Gpus
from gpudoctor.judging.composed import at, given, nvidia_requests

_LIST = step("See which GPUs there are.", "nvidia-smi -L")


@check()
def unknown_gpu(compose: Compose, gpus: Gpus | Unavailable, docker: Docker | Unavailable) -> Iterator[Finding]:
    """Compare the names and counts asked for with the GPUs that answer."""
    for service in compose.services:
        if not nvidia_requests(service):
            yield skipped(service.subject, "asks for no NVIDIA GPU")
        elif not isinstance(gpus, Gpus) or gpus.error_code is not None:
            reason = gpus.error if isinstance(gpus, Gpus) else gpus.reason
            yield at(service.place, unknown(
                service.subject, "the GPUs it asks for cannot be compared: {reason}", reason=reason or "NVML failed",
                fix=step('Judge it for the machine it is meant for: --snapshot FILE, or --hardware "4x L4".')))
        else:
            yield from _judge(service, gpus, docker)


def _judge(service: Service, gpus: Gpus, docker: Docker | Unavailable) -> Iterator[Finding]:
    here = tuple(gpu.index for gpu in gpus.gpus)
    seen = saw("GPUs here", here, "NVML")
    wrong = False
    for name, request in given(service, gpus).missing:
        wrong = True
        yield at(request.place, failed(service.subject, "asks for GPU {name}, and this machine has {count}: {here}",
                                       name=name, count=len(here), here=here, evidence=seen, fix=_LIST))
    for request in service.requests:
        if request.form != "device" and request.count is not None and request.count > len(here):
            wrong = True
            yield at(request.place, failed(service.subject, "asks for {wanted} GPUs, and this machine has {count}",
                                           wanted=request.count, count=len(here), evidence=seen, fix=_LIST))
        if request.form == "cdi" and isinstance(docker, Docker) and isinstance(docker.cdi_devices, tuple) \
                and docker.cdi_devices:
            for name in request.device_ids:
                if "=" in name and name not in docker.cdi_devices:
                    wrong = True
                    yield at(request.place, failed(
                        service.subject, "asks for the CDI device {name}, which the engine has not found", name=name,
                        evidence=saw("CDI devices", docker.cdi_devices, "Docker"),
                        fix=step("Write the CDI files anew.", "sudo nvidia-ctk cdi generate "
                                 "--output=/etc/cdi/nvidia.yaml")))
    dead = tuple(gpu.index for gpu in gpus.gpus if gpu.failure is not None)
    held = given(service, gpus).handed or ()
    if set(dead) & set(held):
        wrong = True
        yield at(service.place, warned(service.subject, "asks for GPU {dead}, which does not answer", dead=dead,
                                       evidence=seen, fix=step("Judge the machine first.", "gpudoctor check")))
    if not wrong:
        yield passed(service.subject, "asks for GPUs that are here", evidence=seen)
