"""The volumes that matter to model servers. A dead NFS server hangs whoever looks, so each is a step of its own."""

import json
import os
import re
from collections.abc import Iterator

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.storage import Volume
from gpudoctor.probes.clock import same_kernel
from gpudoctor.probes.mounts import Mount, device_class, holding, read_mounts
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("storage",)
OPTIONS: tuple[str, ...] = ()

#: Always named; the others only where they are in use.
_ALWAYS = ("root", "tmp")
_PATIENCE_SECONDS = 4.0
_MAX_HOMES = 50
_STAT_UNKNOWN = Unavailable("the files are another machine's record; sizes are not in it", "not-applicable")


def probe(out: Reporter, root: Root) -> None:
    """Fill ``storage``, one volume after the other."""
    out.set("storage")  # no list: that would wipe what the parent noted of a volume that hung
    mounts = read_mounts(root)
    seen: set[str] = set()
    for purpose, path, named in candidates(root, os.environ if root.live else {}):
        item = f"{purpose} {path}"
        if path in seen or out.left_out(item):
            continue
        seen.add(path)
        guess = volume(root, mounts, purpose, path)
        expected = named or purpose in _ALWAYS
        out.start(item, doing="statvfs", patience=_PATIENCE_SECONDS, section="storage", field="volumes",
                  placeholder=guess, promised=expected)
        if not (expected or _there(root, path)):
            continue
        out.append("storage", "volumes", measured(root, mounts, purpose, path))


def candidates(root: Root, environment: "os._Environ[str] | dict[str, str]") -> Iterator[tuple[str, str, bool]]:
    """Yield purpose, path, and whether somebody configured that path. Touches nothing but small local files."""
    yield "root", "/", False
    yield "tmp", "/tmp", False
    configured = docker_data_root(_read(root, "/etc/docker/daemon.json"))
    yield "docker", configured or "/var/lib/docker", configured is not None
    yield "docker", "/var/lib/containerd", False
    models = environment.get("OLLAMA_MODELS") or ollama_unit_models(
        _read(root, name)
        for pattern in ("/etc/systemd/system/ollama.service", "/etc/systemd/system/ollama.service.d/*.conf")
        for name in root.glob(pattern)
    )
    if models and models.startswith("/"):
        yield "ollama-models", os.path.normpath(models), True
    yield "ollama-models", "/usr/share/ollama/.ollama/models", False
    yield "ollama-models", "/var/lib/ollama/models", False
    cache = environment.get("HF_HUB_CACHE") or (
        f"{environment['HF_HOME']}/hub" if environment.get("HF_HOME") else None
    )
    if cache and cache.startswith("/"):
        yield "huggingface-cache", os.path.normpath(cache), True
    for home in homes(root, environment):
        yield "ollama-models", f"{home}/.ollama/models", False
        yield "huggingface-cache", f"{home}/.cache/huggingface/hub", False


def _read(root: Root, name: str) -> str:
    try:
        return root.read(name) or ""
    except PermissionError:
        return ""


def docker_data_root(text: str) -> str | None:
    """Return where daemon.json puts Docker's data, None when it leaves the default or is broken."""
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = settings.get("data-root") or settings.get("graph") if isinstance(settings, dict) else None
    return os.path.normpath(found) if isinstance(found, str) and found.startswith("/") else None


def ollama_unit_models(texts: Iterator[str]) -> str | None:
    """Return OLLAMA_MODELS as the systemd unit and its drop-ins set it; the last one wins."""
    found: str | None = None
    for text in texts:
        for match in re.finditer(r"^\s*Environment=.*?\bOLLAMA_MODELS=([^\s\"']+)", text, re.MULTILINE):
            found = match[1]
    return found


def homes(root: Root, environment: "os._Environ[str] | dict[str, str]") -> list[str]:
    """Return this user's home and, under sudo, that of the user behind; under a prefix every home."""
    if not root.live:
        return ["/root", *list(root.glob("/home/*"))[:_MAX_HOMES]]
    found = [environment.get("HOME", "")]
    wanted = environment.get("SUDO_USER")
    for line in _read(root, "/etc/passwd").splitlines():
        fields = line.split(":")
        if wanted and len(fields) > 5 and fields[0] == wanted:
            found.append(fields[5])
    return [home.rstrip("/") for home in found if home.startswith("/") and home != "/"]


def _there(root: Root, path: str) -> bool:
    try:
        os.stat(root.path(path))
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def volume(root: Root, mounts: list[Mount], purpose: str, path: str) -> Volume:
    """Say what the mount table knows of a path, without touching the path."""
    mount = holding(mounts, path)
    if mount is None:
        return Volume(purpose=purpose, path=path)
    return Volume(
        purpose=purpose,
        path=path,
        mount_point=mount.mount_point,
        file_system=mount.file_system,
        device=mount.source,
        device_class=device_class(root, mounts, mount),
        read_only=mount.read_only,
    )


def measured(root: Root, mounts: list[Mount], purpose: str, path: str) -> Volume:
    """Measure the file system that holds a path, or would hold it: links followed, missing folders left off."""
    real = root.path(path)
    if root.live:
        real = type(real)(os.path.realpath(real))
    inside = str(real) if root.live else "/" + os.path.relpath(real, root.prefix)
    found = volume(root, mounts, purpose, os.path.normpath(inside))
    facts = {name: getattr(found, name) for name in found.__struct_fields__} | {"path": path}
    if not same_kernel(root):
        unknown = dict.fromkeys(("total_bytes", "free_bytes", "inodes_total", "inodes_free"), _STAT_UNKNOWN)
        return Volume(**facts | unknown)
    while not os.path.lexists(real) and real.parent != real:
        real = real.parent
    try:
        try:
            status = os.statvfs(real)
        except PermissionError:
            status = os.statvfs(root.path(found.mount_point or "/"))
    except OSError as error:
        return Volume(**facts | {"failure": error.strerror or str(error)})
    # btrfs, ZFS and most network file systems have no fixed number of inodes and say 0.
    none = Unavailable("this file system has no fixed number of inodes", "not-supported")
    return Volume(
        **facts
        | {
            "total_bytes": status.f_blocks * status.f_frsize,
            "free_bytes": status.f_bavail * status.f_frsize,
            "inodes_total": status.f_files or none,
            "inodes_free": status.f_favail if status.f_files else none,
        }
    )
