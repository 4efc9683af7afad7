"""From the engine's /version and /info, and its daemon's process, to facts."""

import datetime
import os
import re
from typing import Any

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Runtime
from gpudoctor.probes.docker_answer import Answer
from gpudoctor.probes.root import Root

_NOT_SAID = Unavailable("this engine does not say: Docker before 25, or podman", "not-supported")
#: Docker 28.2.
_API_WITH_DEVICES = (1, 50)


def version_facts(address: str, told: Answer) -> dict[str, Any]:
    """Read ``/version``.

    Raises:
        Unexpected: It is no answer of Docker's API.
    """
    parts = {part.text("Name").lower(): part.text("Version")[:64] for part in told.parts("Components", 64)}
    silent = Unavailable("the engine does not say", "not-supported")
    return {
        "endpoint": address[:1024],
        "kind": "podman" if any("podman" in name for name in parts) else "docker",
        "version": told.text("Version")[:64] or silent,
        "api_version": told.text("ApiVersion")[:64] or silent,
        "runc_version": parts.get("runc") or silent,
        "containerd_version": parts.get("containerd") or silent,
    }


def info_facts(told: Answer, api: str) -> dict[str, Any]:
    """Read ``/info`` of an engine that speaks this version of the API.

    Raises:
        Unexpected: It is no answer of Docker's API.
    """
    silent = Unavailable("the engine does not say", "not-supported")
    options = [each[:256] for each in told.texts("SecurityOptions", 64)]
    facts: dict[str, Any] = {
        "operating_system": told.text("OperatingSystem")[:256] or silent,
        "cgroup_driver": told.text("CgroupDriver")[:64] or silent,
        "cgroup_version": told.text("CgroupVersion")[:16] or "1",
        "runtimes": _runtimes(told.part("Runtimes")),
        "default_runtime": told.text("DefaultRuntime")[:256] or silent,
        "cdi_spec_dirs": told.texts("CDISpecDirs", 64) if told.has("CDISpecDirs") else _NOT_SAID,
        "cdi_devices": _discovered(told, api),
        "security_options": options,
        "storage_driver": told.text("Driver")[:64] or silent,
        "root_dir": told.text("DockerRootDir") or silent,
    }
    if (kind := _kind(told, options)) is not None:
        facts["kind"] = kind
    return facts


def _kind(told: Answer, options: list[str]) -> str | None:
    if "Docker Desktop" in told.text("OperatingSystem"):
        return "desktop"
    if told.text("DockerRootDir").startswith("/var/snap/"):
        return "snap"
    # Rootless podman stays podman: its Components said so.
    return "rootless" if any(each.startswith("name=rootless") for each in options) and not told.has(
        "BuildahVersion") and "containers/storage" not in told.text("DockerRootDir") else None


def _runtimes(told: Answer) -> tuple[Runtime, ...]:
    found = []
    for name in told.keys(256):
        each = told.part(name)
        path = each.text("path") or each.text("runtimeType") or None
        found.append(Runtime(name=name[:256], path=path, arguments=tuple(each.texts("runtimeArgs", 64))))
    return tuple(found)


def _discovered(told: Answer, api: str) -> tuple[str, ...] | Unavailable:
    # An engine that knows the question leaves the answer out when it found nothing.
    major, _, minor = api.partition(".")
    knows = major.isdigit() and minor.isdigit() and (int(major), int(minor)) >= _API_WITH_DEVICES
    if not (knows or told.has("DiscoveredDevices")):
        return _NOT_SAID
    devices = told.parts("DiscoveredDevices", 4096)
    return tuple(each.text("ID")[:256] for each in devices if each.text("Source") == "cdi")


def daemon_facts(root: Root, pid: int | None) -> dict[str, Any]:
    """Return when the daemon's process started and its PATH."""
    if pid is None:
        gone = Unavailable("the daemon's process cannot be seen from here", "not-supported")
        return {"pid": None, "started": gone, "daemon_path": gone}
    return {"pid": pid, "started": started(root, pid), "daemon_path": path_of(root, pid)}


def started(root: Root, pid: int) -> str | Unavailable:
    """Return when a process started, ISO 8601 UTC, from the kernel's clock ticks since boot."""
    boot = re.search(r"^btime (\d+)$", root.read("/proc/stat", 8 << 20) or "", re.MULTILINE)
    fields = (root.read(f"/proc/{pid}/stat", 4096) or "").rpartition(")")[2].split()
    if boot is None or len(fields) < 20:
        return Unavailable(f"/proc/{pid}/stat does not say when it started")
    seconds = int(boot[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def path_of(root: Root, pid: int) -> tuple[str, ...] | Unavailable:
    """Return the folders in which a process looks for programs."""
    try:
        data = root.read_bytes(f"/proc/{pid}/environ", 1 << 20)
    except PermissionError:
        return Unavailable("only root may read the daemon's environment", "no-permission")
    for item in (data or b"").split(b"\0"):
        if item.startswith(b"PATH="):
            return tuple(each[:1024] for each in item[5:].decode("utf-8", "replace").split(":") if each)[:256]
    return Unavailable("the daemon's environment has no PATH")


def room(root: Root, folder: str, kind: str) -> dict[str, Any]:
    """Return the size of the file system that holds the engine's data, and what is free for it."""
    try:
        if kind == "desktop":
            raise FileNotFoundError(0, "it lies in the engine's virtual machine")
        status = os.statvfs(root.path(folder))
    except OSError as error:
        why = Unavailable(f"{folder}: {error.strerror}", "no-permission" if error.errno == 13 else "error")
        return {"root_dir_total_bytes": why, "root_dir_free_bytes": why}
    return {"root_dir_total_bytes": status.f_blocks * status.f_frsize,
            "root_dir_free_bytes": status.f_bavail * status.f_frsize}
