"""Which Docker Compose is installed: the plugin of version 2, and ``docker-compose`` of version 1."""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes.command import CommandMissing, run_path
from gpudoctor.probes.root import Root
from gpudoctor.probes.toolkit_packages import is_compose_v1, read_packages

_FOLDERS = ("/usr/local/lib/docker/cli-plugins", "/usr/local/libexec/docker/cli-plugins",
            "/usr/lib/docker/cli-plugins", "/usr/libexec/docker/cli-plugins",
            "/run/current-system/sw/libexec/docker/cli-plugins", "/snap/docker/current/usr/libexec/docker/cli-plugins")
_V1_PLACES = ("/usr/local/bin/docker-compose", "/usr/bin/docker-compose", "/usr/local/sbin/docker-compose")
#: The packages that bring the plugin; docker-compose of Debian is version 1 up to 12, and the plugin from 13 on.
_PACKAGES = ("docker-compose-plugin", "docker-compose-v2", "docker-compose")


def compose_facts(root: Root, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return ``compose_version`` and ``compose_v1_path``; each is None when there is none."""
    found = [place for place in (*_V1_PLACES, f"{environment.get('HOME', '')}/.local/bin/docker-compose")
             if root.exists(place) and is_compose_v1(root, place)]
    return {"compose_version": _version(root, environment), "compose_v1_path": found[0] if found else None}


def _version(root: Root, environment: Mapping[str, str]) -> str | Unavailable | None:
    own = environment.get("DOCKER_CONFIG") or f"{environment.get('HOME', '')}/.docker"
    places = [f"{folder}/docker-compose" for folder in (f"{own}/cli-plugins", *_FOLDERS)]
    path = next((place for place in places if place.startswith("/") and root.exists(place)), None)
    if path is None:
        return None
    packages = read_packages(root)
    packaged = next((packages.versions[name] for name in _PACKAGES if name in packages.versions), None)
    if packaged is not None and path.startswith(("/usr/lib/", "/usr/libexec/")):
        return packaged
    return _asked(root, path)


def _asked(root: Root, path: str) -> str | Unavailable:
    """Ask the plugin as Docker's own client does. One that others could have changed is not run as root."""
    status = root.stat(path)
    if status is None or (os.geteuid() == 0 and (status.st_uid != 0 or status.st_mode & 0o022)):
        return Unavailable(f"{path} is not run, for others than root may change it", "not-supported")
    try:
        _, output, _ = run_path(path, "docker-cli-plugin-metadata", limit=1 << 16)
        told = msgspec.json.decode(output)
    except (CommandMissing, OSError, msgspec.DecodeError):
        return Unavailable(f"{path} does not say its version")
    version = told.get("Version") if isinstance(told, dict) else None
    return version.removeprefix("v")[:64] if isinstance(version, str) else Unavailable(f"{path} says no version")
