"""A running container can no longer open its GPUs.

## Why it matters
The device rule that let the container reach `/dev/nvidia*` was added behind the engine's back. Whatever makes the
engine write its rules anew (`systemctl daemon-reload` under the systemd cgroup driver, `docker update`) takes it
away: NVML says "Unknown Error", the host goes on as if nothing were. The same words come from a container that never
got any device, so look whether the device files are there.

## How to fix
Recreate the container; a restart of the service inside is not enough. For good: hand GPUs over through CDI, name
every device with --device, or let Docker use the cgroupfs driver.

## References
- https://github.com/NVIDIA/nvidia-container-toolkit/issues/48
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, Step, check, failed, known, need, passed, saw, skipped, step, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Container, Containers, Docker
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.host import Host
from gpudoctor.facts.live import Live
from gpudoctor.judging.device_state import State, ruled, state
from gpudoctor.judging.docker_remedies import compose_file, keep_gpus, recreate
from gpudoctor.judging.gpu_containers import asked_ids, meant_for_gpus, route
from gpudoctor.judging.gpu_paths import Paths, paths
from gpudoctor.judging.live_looks import after_look, looked
from gpudoctor.judging.remedies import reboot


@check()
def gpu_lost(
    containers: Containers,
    docker: Docker,
    container_toolkit: ContainerToolkit | Unavailable,
    driver: Driver | Unavailable,
    host: Host | Unavailable,
    live: Live | Unavailable,
) -> Iterator[Finding]:
    """Judge every running container that was given GPUs; only --live looked inside."""
    found = tuple(c for c in containers.containers if c.running and meant_for_gpus(c, docker))
    if not found:
        yield skipped("host", "no running container asked for GPUs")
        return
    if isinstance(driver, Driver) and need(driver.loaded_version) is None:
        yield skipped("host", "no driver is loaded, so no container has a GPU; driver.not-loaded says so")
        return
    ways = paths(docker, container_toolkit) if isinstance(container_toolkit, ContainerToolkit) else None
    for each in found:
        now = after_look(live, each, state(each, docker, container_toolkit, containers, driver))
        way = route(each, docker, container_toolkit) or "not known"
        seen = (saw("path", way, "docker inspect"), *looked(live, each), *ruled(each, now, container_toolkit, driver),
                *(ways.evidence if ways is not None else ()))
        fix = (recreate(each), *_other_request(each, ways, docker), *keep_gpus(docker, container_toolkit, host))
        yield _judge(each, now, way, seen, fix, driver, host)


def _judge(
    each: Container, now: State, way: str, seen: tuple[Evidence, ...], fix: tuple[Step, ...],
    driver: Driver | Unavailable, host: Host | Unavailable,
) -> Finding:
    if now.kind == "denied" and now.reload is not None:
        return failed(each.subject, "its device cgroup no longer lets it open its GPUs; systemd reloaded at {reload}, "
                      "after its start: NVML says Unknown Error inside", reload=now.reload, evidence=seen, fix=fix)
    if now.kind == "denied":
        return failed(each.subject, "its device cgroup does not let it open its GPUs: NVML says Unknown Error inside",
                      evidence=seen, fix=fix)
    if now.kind == "reloaded":
        return failed(each.subject, "it has most likely lost its GPUs at {reload}: systemd reloaded, and its scope "
                      "does not list them", reload=now.reload, evidence=seen, fix=fix)
    if now.kind == "other-library":
        loaded = known(driver.loaded_version) if isinstance(driver, Driver) else None
        return failed(each.subject, "its driver library is {library}, the loaded module {loaded}: NVML and CUDA fail "
                      "inside", library=now.library, loaded=loaded, evidence=seen,
                      fix=_reload(driver, loaded, host, fix))
    if now.kind == "holds":
        return passed(each.subject, "it holds its GPUs (by {way})", way=way, evidence=seen)
    if now.kind in ("no-nodes", "nothing-injected"):
        return skipped(each.subject, "it never got a GPU; container.gpu-invisible says so", evidence=seen)
    reason = now.reason.reason if now.reason is not None else "nothing shows it"
    said = skipped if now.reason is not None and now.reason.harmless else unknown
    return said(each.subject, "whether it still holds its GPUs cannot be seen from here: {reason}", reason=reason,
                evidence=seen)


def _reload(
    driver: Driver | Unavailable, loaded: str | None, host: Host | Unavailable, fix: tuple[Step, ...]
) -> tuple[Step, ...]:
    """A new container gets the host's library: that helps only where the host's own agrees with its module."""
    copies = driver.library("libnvidia-ml.so.1") if isinstance(driver, Driver) else ()
    agrees = any(copy.version == loaded for copy in copies)
    return fix[:1] if agrees else (reboot(host),)


def _other_request(each: Container, ways: Paths | None, docker: Docker) -> tuple[Step, ...]:
    """The way that works for new containers, for a service that asks by the one that fails."""
    file = compose_file(each)
    if ways is None or each.requests or not ways.gpus.works or file is None:
        return ()
    ids = asked_ids(each, docker)
    cuda = each.environment.get("CUDA_VISIBLE_DEVICES", "")
    chosen = ids or tuple(part.strip() for part in cuda.split(",") if part.strip().isdigit())
    return (step("Ask by deploy.resources.reservations.devices instead of runtime: nvidia (device_ids: {ids}); this "
                 "shows the change. It works now, and is exposed to the same loss.", "gpudoctor compose fix {file}",
                 ids=chosen or "all", file=file),)
