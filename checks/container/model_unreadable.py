"""The engine's user may not read the model's files.

## Why it matters
A folder mounted into a container keeps its owner and mode. Files that root fetched cannot be read by an image that
runs as another user, and the engine ends with "Permission denied" on a shard or config.json.

Judged by owner and mode of the mounted folder alone; what lies inside is not looked at.

## How to fix
Make the files readable for that user, or run the container as their owner.

## References
- https://docs.docker.com/engine/storage/bind-mounts/
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, check, failed, passed, saw, skipped, step, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Container, ContainerMount, Containers
from gpudoctor.judging.gpu_containers import engine_of


@check()
def model_unreadable(containers: Containers) -> Iterator[Finding]:
    """Judge folders of the host that are mounted into engines which do not run as root."""
    found = tuple((c, m) for c in containers.containers if engine_of(c) for m in c.mounts if m.kind == "bind")
    for each, mount in found:
        yield _judge(each, mount)
    if not found:
        yield skipped("host", "no engine in a container has a folder of the host")


def _judge(each: Container, mount: ContainerMount) -> Finding:
    user, group = _ids(each.user)
    seen: tuple[Evidence, ...] = (
        saw("user of the container", each.user or "root", "docker inspect"),
        saw("mounted at", mount.destination, "docker inspect"),
    )
    if user is None:
        return skipped(each.subject, "user {user} is a name of the image's own: its number is not known from here",
                       user=each.user, evidence=seen)
    if isinstance(mount.mode, Unavailable) or isinstance(mount.owner_uid, Unavailable):
        gap = mount.mode if isinstance(mount.mode, Unavailable) else mount.owner_uid
        said = skipped if isinstance(gap, Unavailable) and gap.harmless else unknown
        return said(each.subject, "owner and mode of {source} are not known: {reason}", source=mount.source,
                    reason=gap.reason if isinstance(gap, Unavailable) else "", evidence=seen)
    owner = f"{mount.owner_uid}:{mount.owner_gid}" if isinstance(mount.owner_gid, int) else str(mount.owner_uid)
    mode = f"{mount.mode & 0o777:03o}"
    seen += (saw(mount.source, f"owner {owner}, mode {mode}", "stat"),)
    may = user == 0 or _may_read(mount, mount.mode, user, group)
    if may is None:
        return skipped(each.subject, "whether user {user} may read {source} depends on the group that the image gives "
                       "it", user=user, source=mount.source, evidence=seen)
    if may:
        return passed(each.subject, "its user may read {source} (what lies inside was not looked at)",
                      source=mount.source, evidence=seen)
    return failed(
        each.subject, "user {user} may not read {source} (owner {owner}, mode {mode})", user=user, source=mount.source,
        owner=owner, mode=mode, evidence=seen,
        fix=(step("Make the files readable.", "sudo chmod -R a+rX {path}", risk="lets every user of the host read them",
                  path=mount.source),
             step("Or give them to that user.", "sudo chown -R {user} {path}", path=mount.source, user=user),
             step("Or run the container as their owner: user: {owner} in Compose.", owner=owner)),
    )


def _ids(user: str) -> tuple[int | None, int | None]:
    name, _, group = user.partition(":")
    if name in ("", "root"):
        return 0, None
    if not (name.isascii() and name.isdigit() and len(name) < 11):
        return None, None
    return int(name), int(group) if group.isascii() and group.isdigit() and len(group) < 11 else None


def _may_read(mount: ContainerMount, mode: int, user: int, group: int | None) -> bool | None:
    if mount.owner_uid == user:
        return mode & 0o400 != 0
    if group is None and bool(mode & 0o040) != bool(mode & 0o004):
        # Without a group it gets that of the image's passwd, else group 0.
        return None
    return mode & (0o040 if mount.owner_gid == group else 0o004) != 0
