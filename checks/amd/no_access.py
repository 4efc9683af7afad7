"""This user may not open the AMD GPU's device nodes.

## Why it matters
`/dev/kfd` and `/dev/dri/renderD*` belong to the groups `render` or `video`. Being in the `docker` group does not help a
program outside of a container, and inside one the *number* of the group counts: an image's own `render` group may have
another. ROCm then finds no GPU, and engines run on the CPU.

## How to fix
On the host, add the user to the group that owns the node and log in anew. In a container, pass the group's number with
`--group-add`.

## References
- https://rocm.docs.amd.com/projects/install-on-linux/en/latest/install/prerequisites.html
- https://github.com/ROCm/ROCm-docker/issues/90
- https://github.com/ROCm/ROCm-docker/issues/116
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, known, passed, saw, skipped, step
from gpudoctor.checking.finding import Step
from gpudoctor.facts.amd import Amd, AmdNode
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.amd_machine import reason_to_skip


@check()
def no_access(amd: Amd, pci: Pci | Unavailable, host: Host | Unavailable) -> Iterator[Finding]:
    """Judge the nodes that are there; missing ones are amd.driver-missing's."""
    why = reason_to_skip(pci, host)
    if why is not None:
        yield skipped("host", "nothing to judge: {reason}", reason=why)
        return
    if not amd.nodes:
        yield skipped("host", "there are no device nodes to open")
        return
    seen = tuple(saw(node.path, _line(node), "stat") for node in amd.nodes)
    closed = tuple(node for node in amd.nodes if not node.accessible)
    user = known(host.user_name) if isinstance(host, Host) else None
    if not closed:
        yield passed("host", "this user may open {paths}", paths=tuple(node.path for node in amd.nodes), evidence=seen)
        return
    yield failed(
        "host",
        "{user} may not open {paths}, which belong to {owners}",
        user=user or "this user",
        paths=tuple(node.path for node in closed),
        owners=_owners(closed),
        evidence=seen,
        fix=_open(closed, host),
    )


def _line(node: AmdNode) -> str:
    return f"{node.mode:04o} group {node.group or node.gid}"


def _owners(nodes: tuple[AmdNode, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(node.group or f"group {node.gid}" for node in nodes))


def _open(nodes: tuple[AmdNode, ...], host: Host | Unavailable) -> tuple[Step, ...]:
    if isinstance(host, Host) and host.container is not None:
        numbers = tuple(dict.fromkeys(node.gid for node in nodes))
        return (step("Start the container with --group-add for each of these numbers: {gids}.", gids=numbers),)
    if any(node.gid == 0 or not node.mode & 0o060 for node in nodes):
        return (
            step("The nodes are not given to a group: install AMD's udev rules (package amdgpu-core or rocm-core), "
                 "then load them anew.", "sudo udevadm control --reload && sudo udevadm trigger"),
        )
    groups = ",".join(dict.fromkeys(node.group or str(node.gid) for node in nodes))
    if isinstance(host, Host) and host.os_id == "nixos":
        return (step("Add {groups} to users.users.NAME.extraGroups, then rebuild and log in anew.",
                     "sudo nixos-rebuild switch", groups=groups),)
    return (
        step("Join the groups, then log in anew.", 'sudo usermod -aG {groups} "$(id -un)"', groups=groups),
        step("For a service that runs as another user, add that user instead (Ollama's is ollama)."),
    )
