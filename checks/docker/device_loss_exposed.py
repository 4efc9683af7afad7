"""A reload of systemd, or an update of the container, will take the GPUs away from a running container.

## Why it matters
The hook behind `--gpus`, and the nvidia runtime in its legacy mode, open a container's device rules behind the
engine's back. Whoever writes the rules anew, forgets the GPUs: systemd at `daemon-reload` (every package upgrade may
do it) or when a property of the container's scope is set, runc between 1.1.3 and 1.1.6 even for devices that were
asked for, where `/dev/char` lacks their links. The engine inside then says "Unknown Error", or goes on with the CPU,
weeks after anybody touched it.

Judged by the device list of each container's scope, which is what systemd applies. systemd 252 was measured to do so at
every reload, 257 only when a property is set; what lies between is not known.

## How to fix
Hand GPUs over by CDI (toolkit 1.18 makes runtime: nvidia do so), or name every device with links under /dev/char, or
let Docker use the cgroupfs driver. Containers that run already have to be created anew.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
- https://github.com/NVIDIA/nvidia-container-toolkit/issues/48
- https://github.com/opencontainers/runc/issues/3708
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, check, known, passed, saw, skipped, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Container, Containers, Docker
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.host import Host
from gpudoctor.judging.device_loss import Prediction
from gpudoctor.judging.device_state import state
from gpudoctor.judging.docker_remedies import keep_gpus
from gpudoctor.judging.gpu_containers import meant_for_gpus, route


@check()
def device_loss_exposed(
    containers: Containers,
    docker: Docker,
    container_toolkit: ContainerToolkit | Unavailable,
    driver: Driver | Unavailable,
    host: Host | Unavailable,
) -> Iterator[Finding]:
    """Predict for every running container that was given GPUs."""
    found = tuple(c for c in containers.containers if c.running and meant_for_gpus(c, docker))
    for each in found:
        now = state(each, docker, container_toolkit, containers, driver)
        seen = _seen(each, docker, container_toolkit)
        if now.kind in ("no-nodes", "nothing-injected"):
            yield skipped(each.subject, "it never got a GPU; container.gpu-invisible says so", evidence=seen)
        elif now.kind in ("denied", "reloaded"):
            yield skipped(each.subject, "it lost its GPUs already; container.gpu-lost says so", evidence=seen)
        else:
            yield _judge(each, now.prediction, seen, docker, container_toolkit, host)
    if not found:
        yield skipped("host", "no running container asked for GPUs")


def _judge(
    each: Container, ahead: Prediction, seen: tuple[Evidence, ...], docker: Docker,
    toolkit: ContainerToolkit | Unavailable, host: Host | Unavailable,
) -> Finding:
    fix = keep_gpus(docker, toolkit, host)
    if ahead.reload and ahead.read:
        return warned(each.subject, "the next systemctl daemon-reload takes its GPUs away: its scope does not list "
                      "them", evidence=seen, fix=fix)
    if ahead.reload:
        return warned(each.subject, "the next systemctl daemon-reload is likely to take its GPUs away", evidence=seen,
                      fix=fix)
    if ahead.update and ahead.reload is None:
        return warned(each.subject, "an update of the container takes its GPUs away, and a systemctl daemon-reload may",
                      evidence=seen, fix=fix)
    if ahead.update:
        return warned(each.subject, "an update of the container takes its GPUs away; a systemctl daemon-reload does "
                      "not", evidence=seen, fix=fix)
    if ahead.reload is None:
        return unknown(each.subject, "whether a reload of systemd takes its GPUs away is not known", evidence=seen)
    if ahead.cause == "cgroupfs" and ahead.update is None:
        return passed(each.subject, "Docker manages cgroups itself: a reload of systemd does not touch its GPUs",
                      evidence=seen)
    return passed(each.subject, "neither a reload of systemd nor an update takes its GPUs away ({cause})",
                  cause=ahead.words, evidence=seen)


def _seen(each: Container, docker: Docker, toolkit: ContainerToolkit | Unavailable) -> tuple[Evidence, ...]:
    allowed = each.device_allow
    systemd = known(toolkit.systemd_version) if isinstance(toolkit, ContainerToolkit) else None
    listed: str | int | None = None
    if isinstance(allowed, tuple):
        listed = ", ".join(name for name in allowed if "195:" in name or "nvidia" in name) or "no NVIDIA device"
    return (
        saw("path", route(each, docker, toolkit), "docker inspect"),
        saw("cgroup driver", known(docker.cgroup_driver), "docker info"),
        saw("DeviceAllow of its scope", listed, "systemctl show"),
        saw("systemd", systemd, "systemctl"),
        saw("runc", known(docker.runc_version), "docker version"),
    )
