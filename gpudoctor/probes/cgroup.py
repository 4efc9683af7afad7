"""Control groups, versions 1 and 2: the memory and process limits that hold for this process."""

from collections.abc import Iterator

from gpudoctor.probes.root import Root

BASE = "/sys/fs/cgroup"
#: Version 1 says "no limit" with the largest number of pages; no machine has an exbibyte.
_UNLIMITED = 1 << 60


def version(root: Root) -> str | None:
    """Return ``2``, ``1`` or ``hybrid``; None where no control groups are mounted."""
    if root.exists(f"{BASE}/cgroup.controllers"):
        return "2"
    if root.exists(f"{BASE}/unified/cgroup.controllers"):
        return "hybrid"
    return "1" if root.exists(f"{BASE}/memory") or root.exists(f"{BASE}/systemd") else None


def parse_membership(text: str) -> dict[str, str]:
    """Read /proc/self/cgroup (``4:memory:/user.slice``, ``0::/user.slice``): path by controller, "" for version 2."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(","):
            found[name] = path
    return found


def folders(root: Root, controller: str) -> tuple[Iterator[str], bool]:
    """Return the folders from this process's group up to the top, and whether they are version 1.

    In a container without its own cgroup namespace the path is the host's and does not exist here; the top is
    then the container's own group.
    """
    groups = parse_membership(root.read("/proc/self/cgroup") or "")
    first = controller in groups
    base = f"{BASE}/{controller}" if first else BASE
    parts = [part for part in groups.get(controller if first else "", "/").split("/") if part not in ("", "..")]
    return (f"{base}/{'/'.join(parts[:n])}".rstrip("/") for n in range(len(parts), -1, -1)), first


def _limit(root: Root, name: str) -> int | None:
    value = root.read_int(name)
    return None if value is None or not 0 <= value < _UNLIMITED else value


def memory_limit(root: Root) -> tuple[int, int | None] | None:
    """Return limit and use of the group, own or above, that leaves the least room; None without any limit.

    Use is without the file cache that the kernel would give back.
    """
    paths, first = folders(root, "memory")
    limit_file, used_file = ("memory.limit_in_bytes", "memory.usage_in_bytes") if first else (
        "memory.max", "memory.current",
    )
    found: list[tuple[int, int | None]] = []
    for path in paths:
        limit = _limit(root, f"{path}/{limit_file}")
        if limit is None:
            continue
        used = root.read_int(f"{path}/{used_file}")
        if used is not None:
            used = max(0, used - _inactive_file(root, path, first))
        found.append((limit, used))
    return min(found, key=lambda pair: pair[0] - (pair[1] or 0), default=None)


def _inactive_file(root: Root, path: str, first: bool) -> int:
    wanted = "total_inactive_file" if first else "inactive_file"
    try:
        text = root.read(f"{path}/memory.stat") or ""
    except PermissionError:
        return 0
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == wanted and value.isdigit():
            return int(value)
    return 0


def pids_limit(root: Root) -> int | None:
    """Return the smallest process limit of the groups this process is in; None without any."""
    paths, _ = folders(root, "pids")
    limits = [limit for path in paths if (limit := _limit(root, f"{path}/pids.max")) is not None]
    return min(limits, default=None)
