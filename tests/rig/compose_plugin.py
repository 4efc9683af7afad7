"""The real Compose plugin, and a project as both understand it: what must be equal."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rig_packages import NoPackages, newest_engine

from gpudoctor.facts.compose import ComposeProject, Service


class Refused(Exception):
    """Compose would not read the files; what it said."""


def plugin() -> Path | None:
    """Return the plugin of Debian's newest docker-compose package, fetched into the tests' cache; None without one."""
    try:
        found = newest_engine() / "usr/libexec/docker/cli-plugins/docker-compose"
    except NoPackages:
        return None
    return found if found.exists() else None


def config(
    program: Path, files: Sequence[Path], *options: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return ``docker compose config`` as data.

    Raises:
        Refused: Compose does not take the files.
    """
    named = [part for file in files for part in ("-f", str(file))]
    done = subprocess.run(
        [str(program), *named, *options, "config", "--format", "json"], capture_output=True, text=True, check=False,
        cwd=cwd, timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "DOCKER_HOST": "unix:///nowhere", **(environment or {})},
    )  # fmt: skip
    if done.returncode:
        raise Refused(done.stderr.strip())
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def theirs(document: dict[str, Any]) -> dict[str, Any]:
    """Return what Compose says of each service, in the form of ``ours``."""
    return {name: _theirs(service) for name, service in document["services"].items()}


def _plain(text: Any) -> Any:
    return text.replace("$$", "$") if isinstance(text, str) else text


def _theirs(service: dict[str, Any]) -> dict[str, Any]:
    reserved = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices") or []
    limit = service.get("deploy", {}).get("resources", {}).get("limits", {}).get("memory") or service.get("mem_limit")
    return {
        "image": service.get("image"),
        "command": [_plain(w) for w in [*(service.get("entrypoint") or []), *(service.get("command") or [])]],
        "environment": {k: _plain(v) for k, v in (service.get("environment") or {}).items()},
        "ports": sorted(
            (p["target"], p.get("published", "") if "-" not in p.get("published", "") else "", p.get("host_ip", ""),
             p.get("protocol", "tcp"))
            for p in service.get("ports") or []
        ),
        "volumes": sorted(
            (v["type"], v.get("source") or "", v["target"], bool(v.get("read_only")))
            for v in service.get("volumes") or []
        ),
        "reserved": [_request(each) for each in reserved],
        "gpus": [_request(each) for each in service.get("gpus") or []],
        "devices": sorted(
            d["source"] for d in service.get("devices") or []
            if d["source"].startswith(("/dev/nvidia", "/dev/kfd", "/dev/dri")) or "/gpu=" in d["source"]
        ),
        "runtime": service.get("runtime"),
        "ipc": service.get("ipc"),
        "shm_size": int(service["shm_size"]) if "shm_size" in service else None,
        "memory": int(limit) if limit else None,
        "restart": service.get("restart"),
        "user": service.get("user"),
        "depends_on": sorted(service.get("depends_on") or {}),
        "profiles": sorted(service.get("profiles") or []),
    }  # fmt: skip


def _request(each: dict[str, Any]) -> tuple[Any, ...]:
    ids = tuple(each.get("device_ids") or ())
    # Compose writes out that neither means all.
    return (each.get("count", -1) if not ids else None, ids, each.get("driver", ""))


def ours(project: ComposeProject) -> dict[str, Any]:
    """Return what gpudoctor says of each service."""
    return {service.name: _ours(service) for service in project.services}


def _ours(service: Service) -> dict[str, Any]:
    def asked(form: str) -> list[tuple[Any, ...]]:
        kinds = ("deploy", "cdi") if form == "deploy" else (form,)
        return [
            (None if r.device_ids else -1 if r.count is None else r.count, r.device_ids, r.driver)
            for r in service.requests
            if r.form in kinds and not (r.form == "cdi" and len(r.device_ids) == 1 and r.place in devices)
        ]

    devices = {r.place for r in service.requests if r.form in ("cdi", "device")} & {
        r.place for r in service.requests if r.form == "device" or (r.form == "cdi" and "deploy" not in service.places)
    }
    restart = service.restart if "restart" in service.places else None
    return {
        "image": service.image,
        "command": list(service.command),
        "environment": {each.name: each.value for each in service.variables},
        "ports": sorted(
            (p.container_port, "" if p.host_port is None else str(p.host_port), p.address, p.protocol)
            for p in service.ports
        ),
        "volumes": sorted((v.kind, v.source or "", v.target, v.read_only) for v in service.volumes),
        "reserved": asked("deploy"),
        "gpus": asked("gpus"),
        "devices": sorted(i for r in service.requests if r.place in devices for i in r.device_ids),
        "runtime": service.runtime,
        "ipc": service.ipc,
        "shm_size": service.shm_size_bytes,
        "memory": service.memory_limit_bytes,
        "restart": restart,
        "user": service.user,
        "depends_on": sorted(service.depends_on),
        "profiles": sorted(service.profiles),
    }  # fmt: skip
