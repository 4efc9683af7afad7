"""Two services publish one port, or another program or container holds it.

## Why it matters
Docker refuses to start the second one: "port is already allocated", or "address already in use". With restart policies
it depends on the order of starting which service is the one that is missing.

## How to fix
Change the left side of one of the entries under `ports`, or stop what holds the port.

## References
- https://docs.docker.com/engine/network/port-publishing/
- https://docs.docker.com/reference/compose-file/services/#ports
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step
from gpudoctor.checking.finding import Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, ComposeProject, Port, Service
from gpudoctor.facts.docker import Container, Containers
from gpudoctor.facts.network import Processes
from gpudoctor.judging.composed import at

_EVERYWHERE = ("", "0.0.0.0", "::", "*")
_PUBLISHERS = ("docker-proxy", "rootlessport", "conmon")


@check()
def port_conflict(
    compose: Compose, processes: Processes | Unavailable, containers: Containers | Unavailable
) -> Iterator[Finding]:
    """Compare the published ports with each other, with running containers and with what listens."""
    for project in compose.projects:
        before: list[tuple[Service, Port]] = []
        for service in project.services:
            published = [port for port in service.ports if port.host_port is not None]
            if not published:
                yield skipped(service.subject, "publishes no port of the host")
                continue
            for port in published:
                yield at(port.place, _judge(project, service, port, before, processes, containers))
            before += [(service, port) for port in published]


def _judge(
    project: ComposeProject, service: Service, port: Port, before: list[tuple[Service, Port]],
    processes: Processes | Unavailable, containers: Containers | Unavailable,
) -> Finding:  # fmt: skip
    number, entry = port.host_port or 0, f"{port.host_port}:{port.container_port}"
    for other, theirs in before:
        if theirs.host_port == number and theirs.protocol == port.protocol and _meet(theirs.address, port.address):
            return failed(
                service.subject, "publishes port {port}, which {other} publishes, too (line {line})", port=number,
                other=other.name, line=theirs.place.line,
                evidence=saw("published by", other.name, f"{theirs.place.file}:{theirs.place.line}"),
                fix=step("Change the left side of one of them: {entry}.", entry=entry))
    mine = False
    for container in containers.containers if isinstance(containers, Containers) else ():
        for theirs_ in container.ports if container.running else ():
            if theirs_.host_port != number or theirs_.protocol != port.protocol:
                continue
            if not _meet(theirs_.address, port.address):
                continue
            if _same(container, project, service):
                mine = True
                continue
            return failed(
                service.subject, "publishes port {port}, which the running container {container} holds", port=number,
                container=container.name, evidence=saw("published by", container.name, "Docker"),
                fix=(step("Stop it if nobody needs it.", "docker stop {container}", risk="stops that container"),
                     _say(entry)))
    if isinstance(processes, Unavailable) or mine:
        what = "is the one that publishes it now" if mine else "listeners were not read"
        return passed(service.subject, "publishes port {port} alone ({what})", port=number, what=what,
                      evidence=saw("port", entry, port.place.file))
    for listener in processes.listeners:
        if listener.port != number or port.protocol != "tcp" or not _meet(listener.address, port.address):
            continue
        if listener.process in _PUBLISHERS and not isinstance(containers, Containers):
            # The container behind it may be this very service's.
            return skipped(service.subject, "port {port} is published by a container that could not be named",
                           port=number)
        return failed(
            service.subject, "publishes port {port}, which {process} (process {pid}) holds", port=number,
            process=listener.process or "a program that this user may not see", pid=listener.pid,
            evidence=saw("listening", f"{listener.address}:{listener.port}", "/proc/net/tcp"),
            fix=(step("See whose it is.", "sudo ss -ltnp sport = :{port}"), _say(entry)))
    return passed(service.subject, "port {port} is free", port=number, evidence=saw("port", entry, port.place.file))


def _say(entry: str) -> Step:
    return step("Or publish another port: change the left side of {entry}.", entry=entry)


def _meet(one: str, other: str) -> bool:
    return one == other or one in _EVERYWHERE or other in _EVERYWHERE


def _same(container: Container, project: ComposeProject, service: Service) -> bool:
    labels = container.labels
    return container.name == service.container_name or (
        labels.get("com.docker.compose.service") == service.name
        and labels.get("com.docker.compose.project") in (None, project.name))
