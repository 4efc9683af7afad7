"""A service that runs on GPUs asks for none, so its container sees none.

## Why it matters
Docker hands GPUs only to a container that asks: by `deploy.resources.reservations.devices`, `gpus`, `runtime: nvidia`
or a CDI device; AMD's by the devices `/dev/kfd` and `/dev/dri`. Without that vLLM stops at once, and Ollama or
llama.cpp quietly compute on the processor, many times slower. `NVIDIA_VISIBLE_DEVICES` in the environment asks for
nothing: only NVIDIA's runtime reads it. Outside Swarm, `generic_resources` does nothing either.

## How to fix
Write the request that the finding shows below the service.

## References
- https://docs.docker.com/compose/how-tos/gpu-support/
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
- https://docs.vllm.ai/en/stable/deployment/docker.html
- https://rocm.docs.amd.com/projects/install-on-linux/en/latest/how-to/docker.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, Service
from gpudoctor.facts.docker import Docker
from gpudoctor.judging.composed import FALLS_TO_CPU, at, engine, image_sets_all, value, vendor

_ASK = step("Write below the service: deploy: {{resources: {{reservations: {{devices: [{{driver: nvidia, count: all, "
            "capabilities: [gpu]}}]}}}}}}")
_ASK_AMD = step('Write below the service: devices: ["/dev/kfd", "/dev/dri"], and group_add: [video, render].')


@check(gatekeeper_of="compose")
def no_gpu_request(compose: Compose | Unavailable, docker: Docker | Unavailable) -> Iterator[Finding]:
    """Look at every service that is known to need a GPU."""
    if isinstance(compose, Unavailable):
        said = skipped if compose.harmless else unknown
        yield said("host", "no Compose file was judged: {reason}", reason=compose.reason)
        return
    default = docker.default_runtime if isinstance(docker, Docker) else None
    for service in compose.services:
        yield at(service.place, _judge(service, default == "nvidia"))
    for project in compose.projects:
        for name, profiles in project.inactive.items():
            yield noted(f"service:{name}", "not judged: it stands behind the profile {profiles}", profiles=profiles,
                        fix=step("Judge it, too.", "gpudoctor compose lint {files} --profile {first}",
                                 files=project.files, first=profiles[0]))


def _judge(service: Service, nvidia_by_default: bool) -> Finding:
    name, chosen = engine(service), value(service, "NVIDIA_VISIBLE_DEVICES")
    forms = tuple(dict.fromkeys(each.form for each in service.requests))
    seen = (saw("image", service.image, service.place.file), saw("requests", forms, service.place.file))
    real = [each for each in forms if each != "swarm"]
    if real and not (vendor(service) == "nvidia" and all(
            each.startswith(("/dev/kfd", "/dev/dri")) for r in service.requests for each in r.device_ids or ("all",))):
        return passed(service.subject, "asks for GPUs by {forms}", forms=forms, evidence=seen)
    if service.privileged:
        return skipped(service.subject, "is privileged: it sees the host's devices without asking")
    if vendor(service) == "amd" and name is not None:
        return failed(service.subject, "{image} computes on AMD GPUs, and the service hands it none: it needs /dev/kfd "
                      "and /dev/dri", image=service.image, evidence=seen, fix=_ASK_AMD)
    if nvidia_by_default and (chosen not in (None, "", "none", "void") or image_sets_all(service)):
        return passed(service.subject, "gets GPUs from the engine's default runtime, nvidia", evidence=seen)
    if chosen not in (None, "", "none", "void"):
        return failed(service.subject, "NVIDIA_VISIBLE_DEVICES={chosen} asks for nothing without runtime: nvidia: the "
                      "container has no GPU", chosen=chosen, evidence=seen, fix=_ASK)
    if forms == ("swarm",):
        return warned(service.subject, "generic_resources reserves GPUs in a Swarm only: docker compose up hands over "
                      "none", evidence=seen, fix=_ASK)
    if name is None or vendor(service) is None:
        return skipped(service.subject, "is not known to need a GPU")
    if name in FALLS_TO_CPU:
        return warned(service.subject, "{engine} is handed no GPU: it will quietly compute on the processor",
                      engine=name, evidence=seen, fix=_ASK)
    return failed(service.subject, "{engine} needs a GPU, and the service asks for none", engine=name, evidence=seen,
                  fix=_ASK)
