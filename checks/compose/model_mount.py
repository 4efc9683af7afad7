"""A folder mounted into an engine's container does not exist, or the container's user may not read it.

## Why it matters
Docker makes a missing folder itself, empty and owned by root: the engine then finds no model, or downloads it again. A
container that runs as uid 1000 cannot read files that only root may read, and says "Permission denied" or "is not a
valid model" after the start.

## How to fix
Correct the path, make the files readable, or run the container as their owner (`user:`).

## References
- https://docs.docker.com/engine/storage/bind-mounts/
- https://docs.docker.com/reference/compose-file/services/#user
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, HostFile, MountSource, Service, Volume
from gpudoctor.judging.composed import at, engine


@check()
def model_mount(compose: Compose) -> Iterator[Finding]:
    """Judge the bind mounts of services that run a known engine."""
    for service in compose.services:
        mounts = [each for each in service.volumes if each.kind == "bind" and each.source]
        if engine(service) is None or not mounts:
            yield skipped(service.subject, "mounts no folder of the host into an engine")
        else:
            for each in mounts:
                yield at(each.place, _judge(service, each))


def _judge(service: Service, volume: Volume) -> Finding:
    state = volume.on_host
    if isinstance(state, Unavailable):
        said = skipped if state.harmless else unknown
        return said(service.subject, "{source} was not looked at: {reason}", source=volume.source, reason=state.reason)
    if not state.exists:
        return warned(
            service.subject, "{source} does not exist: Docker will make an empty folder there that belongs to root",
            source=volume.source, evidence=saw("mounted at", volume.target, volume.place.file),
            fix=step("Correct the path, or put the files there first.", "mkdir -p {source}"))
    user, group = _ids(service.user)
    if user is None:
        return skipped(service.subject, "user {user} is a name of the image's own: its number is not known from here",
                       user=service.user)
    wrong = _unreadable(state, user, group) if user else None
    seen = (saw("user of the container", service.user or "root, unless the image says another", volume.place.file),
            saw("files looked at", len(state.files), "stat"))
    if wrong is None:
        return passed(service.subject, "its user may read {source}", source=volume.source, evidence=seen)
    return failed(
        service.subject, "user {user} may not read {path} (owner {owner}, mode {mode})", user=service.user,
        path=wrong.path, owner=f"{wrong.uid}:{wrong.gid}", mode=f"{wrong.mode:03o}", source=volume.source,
        evidence=seen, fix=(
            step("Make the files readable.", "sudo chmod -R a+rX {source}",
                 risk="lets every user of the host read them"),
            step('Or run the container as their owner: user: "{owner}"')))


def _ids(user: str | None) -> tuple[int | None, int]:
    name, _, group = (user or "0").partition(":")
    if name == "root":
        name = "0"
    if not (name.isascii() and name.isdigit() and len(name) < 11):
        return None, 0
    # A numeric user without a group gets group 0.
    return int(name), int(group) if group.isascii() and group.isdigit() and len(group) < 11 else 0


def _unreadable(state: MountSource, user: int, group: int) -> HostFile | None:
    for file in state.files:
        bits = file.mode >> 6 if file.uid == user else file.mode >> 3 if file.gid == group else file.mode
        needed = 0o5 if file.folder else 0o4
        if bits & needed != needed:
            return file
    return None
