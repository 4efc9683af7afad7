"""What the host's files show of a running container: its control group, devices and mounts, without entering it."""

import os
import re
import stat
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes.mounts import parse_mountinfo
from gpudoctor.probes.regular_file import names_in
from gpudoctor.probes.root import Root

_NVIDIA_MAJOR = 195
#: The driver's libraries and programs; the CUDA libraries of an image have other names.
_DRIVER_FILE = re.compile(
    r"lib(?:cuda|cudadebugger|nvidia-[\w.-]+|nvcuvid|nvoptix|vdpau_nvidia|(?:GLX|EGL|GLESv\w+)_nvidia)\.so[\w.]*"
    r"|nvidia-(?:smi|debugdump|persistenced|cuda-mps-(?:control|server))|nvidia_drv\.so"
)
_LIKELY = re.compile("nvidia|libcuda|libnv")
_RULE = re.compile(r"^([abc]) (\*|\d+):(\*|\d+) ([rwm]+)$", re.MULTILINE)
_NOT_LIBRARIES = ("/dev/", "/proc/", "/sys/", "/run/")
_ZONE_BYTES = 1 << 16


class Seen(NamedTuple):
    """The fields of ``Container`` that come from the host."""

    cgroup: str | Unavailable
    device_nodes: tuple[str, ...] | Unavailable
    nvidia_mounts: tuple[str, ...] | Unavailable
    device_rights: str | Unavailable
    time_zone: str | Unavailable


def look(root: Root, pid: int, variables: dict[str, str]) -> Seen:
    """Look at a container from outside. Each fact that cannot be read says why."""
    cgroups = _or_why(root, f"/proc/{pid}/cgroup")
    mounts = _or_why(root, f"/proc/{pid}/mountinfo")
    inside = _inside(pid)
    return Seen(
        cgroup=cgroups if isinstance(cgroups, Unavailable) else cgroup_path(cgroups),
        device_nodes=inside if isinstance(inside, Unavailable) else _device_nodes(inside),
        nvidia_mounts=mounts if isinstance(mounts, Unavailable) else driver_mounts(mounts),
        device_rights=cgroups if isinstance(cgroups, Unavailable) else _device_rights(root, cgroups),
        time_zone=_time_zone(inside, variables),
    )


def _inside(pid: int) -> Root | Unavailable:
    """Return the container's own file system: a link in it must not lead out of it."""
    base = f"/proc/{pid}/root"
    try:
        os.stat(f"{base}/")
    except PermissionError:
        return Unavailable("only root sees the device nodes of a container", "no-permission")
    except OSError as error:
        return Unavailable(f"{base}: {error.strerror}")
    return Root(base)


def _or_why(root: Root, name: str) -> str | Unavailable:
    try:
        text = root.read(name, 4 << 20)
    except PermissionError:
        return Unavailable(f"no permission to read {name}", "no-permission")
    gone = Unavailable(f"{name} is not there: the container ended meanwhile, or runs elsewhere")
    return gone if text is None else text


def cgroup_path(text: str) -> str | Unavailable:
    """Return a process's control group: version 2's, or that of version 1's device controller."""
    lines = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    by_controller = {name: path for _, names, path in lines for name in names.split(",")}
    found = [path for path in (by_controller.get("devices"), by_controller.get("")) if path is not None]
    # The root group is no container's: on a hybrid system its own is then in the other version.
    path = next((path for path in found if path != "/"), found[0] if found else None)
    return Unavailable("the kernel names no control group for it") if path is None else path[:1024]


def _device_nodes(inside: Root) -> tuple[str, ...]:
    found = [name for name in names_in(inside, "/dev", 4096) if name.startswith("nvidia")]
    nodes = [name for name in found if _is_node(inside, f"/dev/{name}")]
    if "nvidia-caps" in found:
        caps = names_in(inside, "/dev/nvidia-caps", 512)
        nodes += [f"nvidia-caps/{name}" for name in caps if _is_node(inside, f"/dev/nvidia-caps/{name}")]
    return tuple(node[:64] for node in nodes[:1024])


def _is_node(inside: Root, name: str) -> bool:
    status = inside.stat(name)
    return status is not None and stat.S_ISCHR(status.st_mode)


def driver_mounts(text: str) -> tuple[str, ...]:
    """Return where the driver's files are mounted, from /proc/PID/mountinfo."""
    # A container has dozens of mounts, most of them none of the driver's.
    likely = "\n".join(line for line in text.splitlines() if _LIKELY.search(line)) if _LIKELY.search(text) else ""
    points = [mount.mount_point for mount in parse_mountinfo(likely)]
    return tuple(
        point[:1024]
        for point in points
        if not point.startswith(_NOT_LIBRARIES) and _DRIVER_FILE.fullmatch(point.rpartition("/")[2])
    )[:1024]


def _device_rights(root: Root, cgroups: str) -> str | Unavailable:
    lines = [line.split(":", 2) for line in cgroups.splitlines() if line.count(":") >= 2]
    line = next((each for each in lines if "devices" in each[1].split(",")), None)
    if line is None:
        return Unavailable("control groups v2 keep device rights in a program of the kernel, not in a file",
                           "not-supported")
    point = _device_controller(root)
    if point is None:
        return Unavailable("the device controller of control groups v1 is not mounted here")
    text = _or_why(root, f"{point}{line[2]}/devices.list")
    return text if isinstance(text, Unavailable) else device_rights(text)


@lru_cache(maxsize=1)
def _device_controller(root: Root) -> str | None:
    mounts = parse_mountinfo(root.read("/proc/self/mountinfo", 8 << 20) or "")
    points = (m.mount_point for m in mounts if m.file_system == "cgroup" and "devices" in m.options.split(","))
    return next(points, None)


def device_rights(text: str) -> str:
    """Read ``devices.list``: may NVIDIA's nodes be opened? ``c *:* m`` lets them only be made."""
    nvidia = ("*", str(_NVIDIA_MAJOR))
    found = (rights for kind, major, _, rights in _RULE.findall(text) if kind in "ac" and major in nvidia)
    return "allowed" if any("r" in rights and "w" in rights for rights in found) else "denied"


def _time_zone(inside: Root | Unavailable, variables: dict[str, str]) -> str | Unavailable:
    if named := variables.get("TZ", "").lstrip(":"):
        return named[:100]
    if isinstance(inside, Unavailable):
        return Unavailable("only root sees the files of a container", "no-permission")
    link = inside.readlink("/etc/localtime")
    if link is not None and "zoneinfo/" in link:
        return link.partition("zoneinfo/")[2][:100]
    data = inside.read_bytes("/etc/localtime", _ZONE_BYTES)
    if data is None:
        return "UTC"
    # The last line of a zone's file is the rule for all times to come (KST-9).
    rule = data.rstrip(b"\n").rpartition(b"\n")[2].decode("ascii", "replace")[:100] if data[:4] == b"TZif" else ""
    return rule or Unavailable("/etc/localtime is a copy and carries no name", "not-supported")


def scope_of(cgroup: str) -> str | None:
    """Return the systemd scope in a control group's path (``docker-ID.scope``), None where there is none."""
    return next((part for part in reversed(cgroup.split("/")) if part.endswith(".scope")), None)


def source_status(root: Root, source: str) -> Sequence[int] | Unavailable:
    """Return owner, group and mode of what is mounted into a container."""
    try:
        status = os.stat(root.path(source))
    except PermissionError:
        return Unavailable(f"no permission to look at {source}", "no-permission")
    except OSError as error:
        return Unavailable(f"{source}: {error.strerror}")
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)
