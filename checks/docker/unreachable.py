"""Docker's daemon does not answer, or not to this user.

## Why it matters
Without the daemon no container starts, and without its answer nobody can say whether GPUs reach containers. Down,
hung, closed to this user and not installed are four troubles with four remedies. Where Docker is not installed, or is
switched off on purpose (its unit is disabled), nothing is wrong unless a container is wanted here: an image named with
`--for`, or a Compose file.

## How to fix
Start the daemon and read why it stopped; add the user to the group docker, which is as good as giving root; or install
Docker.

## References
- https://docs.docker.com/engine/install/linux-postinstall/
- https://docs.docker.com/engine/daemon/troubleshoot/
"""

from collections.abc import Iterator

from gpudoctor.checking import (
    Evidence,
    Finding,
    Step,
    Target,
    check,
    failed,
    known,
    noted,
    passed,
    saw,
    skipped,
    step,
    unknown,
)
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Docker
from gpudoctor.facts.host import Host, Services
from gpudoctor.judging.docker_remedies import install_docker


@check(gatekeeper_of="docker")
def unreachable(
    docker: Docker | Unavailable,
    container_toolkit: ContainerToolkit | Unavailable,
    compose: Compose | Unavailable,
    services: Services | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Tell apart: answers, not installed, closed to this user, hung, down."""
    if isinstance(docker, Docker):
        yield passed("host", "{kind} {version} answers", kind=docker.kind, version=known(docker.version) or "engine",
                     evidence=(saw("endpoint", docker.endpoint, "engine"),
                               saw("API", known(docker.api_version), "/version")))
        return
    wanted = isinstance(compose, Compose) or any(wish.image for wish in target.engines)
    seen = _seen(container_toolkit, services)
    if docker.kind == "not-applicable":
        yield _not_installed(docker, wanted, host, target, seen)
    elif docker.harmless:
        yield skipped("host", "no Docker to judge: {reason}", reason=docker.reason)
    elif docker.kind == "no-permission":
        yield _closed(docker, wanted, container_toolkit, host, seen)
    elif docker.kind == "timeout":
        yield unknown("host", "Docker's daemon takes the call and does not answer in time: {reason}",
                      reason=docker.reason, evidence=seen,
                      fix=(step("See what it waits for.", "sudo journalctl -u docker -n 50 --no-pager"),
                           _start("restart")))
    else:
        yield _down(docker, wanted, services, seen)


def _not_installed(
    docker: Unavailable, wanted: bool, host: Host | Unavailable, target: Target, seen: tuple[Evidence, ...]
) -> Finding:
    if wanted and not target.installing:
        return failed("host", "a container shall run here and Docker is not installed", evidence=seen,
                      fix=install_docker(host))
    if target.installing:
        return noted("host", "Docker is not installed yet; engines that run in containers need it", evidence=seen,
                     fix=install_docker(host))
    return skipped("host", "no Docker to judge: {reason}", reason=docker.reason)


def _closed(
    docker: Unavailable, wanted: bool, toolkit: ContainerToolkit | Unavailable, host: Host | Unavailable,
    seen: tuple[Evidence, ...],
) -> Finding:
    """Who only looks after a machine need not be in the group: then it is not known, which is no fault of Docker's."""
    user = known(host.user_name) if isinstance(host, Host) else None
    socket = toolkit.socket if isinstance(toolkit, ContainerToolkit) and toolkit.socket else "/var/run/docker.sock"
    fix = (
        step("Ask as root.", "sudo gpudoctor check"),
        step("Or let this user speak with Docker, then log in again.", "sudo usermod -aG docker {account}",
             risk="as good as giving root", account=user)
        if user is not None else
        step("Or let this user speak with Docker, then log in again.", "sudo usermod -aG docker $USER",
             risk="as good as giving root"),
    )
    if wanted:
        return failed("host", "{user} may not open {socket}: no container can be started by this user",
                      user=user or "this user", socket=socket, evidence=seen, fix=fix)
    return unknown("host", "{user} may not open {socket}, so what containers see cannot be judged: {reason}",
                   user=user or "this user", socket=socket, reason=docker.reason, evidence=seen, fix=fix)


def _down(
    docker: Unavailable, wanted: bool, services: Services | Unavailable, seen: tuple[Evidence, ...]
) -> Finding:
    unit = services.unit("docker.service") if isinstance(services, Services) else None
    systemd = not (isinstance(services, Unavailable) and services.kind == "not-applicable")
    fix = (_start("start") if systemd else step("Start it.", "sudo service docker start"),
           step("See why it stopped, where systemd keeps its log.", "sudo journalctl -u docker -n 50 --no-pager"))
    if wanted or (unit is not None and (unit.enabled == "enabled" or unit.active == "failed")):
        return failed("host", "Docker's daemon does not answer: {reason}", reason=docker.reason,
                      evidence=seen, fix=fix)
    if unit is not None and unit.active == "inactive":
        return noted("host", "Docker is installed and switched off (docker.service is {enabled}): no container runs "
                     "here", enabled=unit.enabled or "not enabled", evidence=seen)
    return unknown("host", "Docker's daemon does not answer: {reason}", reason=docker.reason, evidence=seen,
                   fix=fix)


def _start(verb: str) -> Step:
    if verb == "start":
        return step("Start it.", "sudo systemctl start docker")
    return step("If nothing moves, restart it.", "sudo systemctl restart docker",
                risk="restarts every container without live-restore")


def _seen(toolkit: ContainerToolkit | Unavailable, services: Services | Unavailable) -> tuple[Evidence, ...]:
    unit = services.unit("docker.service") if isinstance(services, Services) else None
    found = []
    if isinstance(toolkit, ContainerToolkit):
        mode = f" ({toolkit.socket_mode})" if toolkit.socket_mode else ""
        found.append(saw("socket", f"{toolkit.socket}{mode}" if toolkit.socket else "none", "ls"))
    if unit is not None:
        found.append(saw("docker.service", f"{unit.active}, {unit.enabled}", "systemctl"))
    return tuple(found)
