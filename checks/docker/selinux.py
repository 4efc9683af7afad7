"""SELinux, or the device files' mode, keeps containers from the GPUs.

## Why it matters
The toolkit reports "insufficient permissions" when the label of the container may not touch the device files.

## How to fix
Start the container with `--security-opt=label=disable`, or install a policy for it.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, check, need, passed, saw, skipped, step, warned
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Container, Containers, Docker
from gpudoctor.judging.gpu_containers import gpu_minors, meant_for_gpus

_FREE = ("label=disable", "label:disable", "label=type:spc_t", "label=type:nvidia_container_t")


@check()
def selinux(docker: Docker, containers: Containers, container_toolkit: ContainerToolkit) -> Iterator[Finding]:
    """Judge running GPU containers where SELinux enforces and the engine labels them."""
    mode = need(container_toolkit.selinux)
    labels = docker.kind == "podman" or any("name=selinux" in option for option in docker.security_options)
    seen = (saw("SELinux", mode, "/sys/fs/selinux/enforce"), saw("the engine labels containers", labels, "docker info"))
    if mode is None:
        yield skipped("host", "this kernel has no SELinux", evidence=seen[:1])
        return
    if mode != "enforcing" or not labels:
        yield passed("host", "SELinux ({mode}) does not keep this engine's containers from devices", mode=mode,
                     evidence=seen)
        return
    asked = (c for c in containers.containers if c.running and meant_for_gpus(c, docker))
    found = tuple(c for c in asked if gpu_minors(c) or not isinstance(c.device_nodes, tuple))
    for each in found:
        yield _judge(each, seen)
    if not found:
        yield skipped("host", "SELinux enforces, and no running container asked for GPUs", evidence=seen)


def _judge(each: Container, seen: tuple[Evidence, ...]) -> Finding:
    told = saw("security options", ", ".join(each.security_options) or None, "docker inspect")
    if each.privileged or any(option in _FREE for option in each.security_options):
        return passed(each.subject, "SELinux lets this container use devices", evidence=(*seen, told))
    return warned(
        each.subject, "SELinux enforces its label: NVML is likely to say Insufficient Permissions inside",
        evidence=(*seen, told),
        fix=(step("Let every container use devices.", "sudo setsebool -P container_use_devices on",
                  risk="for all containers of this host"),
             step("Or take the label from this one: --security-opt=label=disable, in Compose under security_opt.",
                  risk="takes SELinux's protection from this container")),
    )
