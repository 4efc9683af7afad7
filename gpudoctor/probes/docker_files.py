"""daemon.json, the toolkit's config.toml and the engine's socket: what lies on disk, whether or not a daemon runs."""

import itertools
import json
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import DaemonFile, ToolkitConfig
from gpudoctor.probes.cdi_specs import changed_of
from gpudoctor.probes.root import Root

CONFIG = "/etc/nvidia-container-runtime/config.toml"
_MAX_BYTES = 1 << 20
_PLACES = ("/etc/docker/daemon.json", "/var/snap/docker/current/config/daemon.json")
_CGROUP_OPTION = "native.cgroupdriver="


class _Form(Exception):
    """A setting has another type than the daemon takes."""


def option(arguments: Sequence[str], name: str) -> list[str]:
    """Return the values of an option in a command line: ``--name VALUE`` or ``--name=VALUE``."""
    found = [word.partition("=")[2] for word in arguments if word.startswith(f"{name}=")]
    return found + [value for word, value in itertools.pairwise(arguments) if word == name]


def daemon_arguments(root: Root, pid: int | None) -> list[str]:
    """Return the running daemon's command line; empty when it cannot be read."""
    if pid is None:
        return []
    try:
        data = root.read_bytes(f"/proc/{pid}/cmdline", 1 << 16)
    except PermissionError:
        return []
    return (data or b"").decode("utf-8", "replace").split("\0")


def read_daemon_file(
    root: Root, arguments: Sequence[str], endpoint: str | None, environment: Mapping[str, str]
) -> DaemonFile | Unavailable | None:
    """Read the daemon's configuration; None when there is none, which is usual.

    Args:
        root: The file system.
        arguments: The running daemon's command line, which may name another file.
        endpoint: Where it listens: an engine without root has its file in the user's home.
        environment: The user's variables.
    """
    named = [path for path in option(arguments, "--config-file") if path.startswith("/")]
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config"
    own = [f"{home}/docker/daemon.json"] if endpoint and endpoint.startswith("unix:///run/user/") else []
    for path in named[-1:] or [*own, *_PLACES]:
        try:
            data = root.read_bytes(path, _MAX_BYTES + 1)
        except PermissionError:
            return Unavailable(f"no permission to read {path}", "no-permission")
        if data is not None:
            return parse_daemon_file(path, data, changed_of(root, path))
    return None


def parse_daemon_file(path: str, data: bytes, changed: str | Unavailable) -> DaemonFile:
    """Read daemon.json as dockerd does; one that it would refuse carries the failure with its line."""
    path = path[:1024]
    if len(data) > _MAX_BYTES:
        return DaemonFile(path=path, changed=changed, failure="larger than 1 MiB: not read")
    if not data.strip():
        return DaemonFile(path=path, changed=changed)
    try:
        value = json.loads(data.decode("utf-8"))
        return _daemon_file(path, value, changed)
    except json.JSONDecodeError as error:
        failure = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except UnicodeDecodeError as error:
        failure = f"line {data.count(10, 0, error.start) + 1}: no UTF-8 text"
    except RecursionError:
        failure = "nested too deeply"
    except _Form as error:
        failure = str(error)
    return DaemonFile(path=path, changed=changed, failure=failure[:300])


def _daemon_file(path: str, value: Any, changed: str | Unavailable) -> DaemonFile:
    top = _typed(value, dict, "the file")
    runtimes = _typed(top.get("runtimes", {}), dict, "runtimes")
    features = _typed(top.get("features", {}), dict, "features")
    folders = _texts(top.get("cdi-spec-dirs", []), "cdi-spec-dirs")
    driver = [each for each in _texts(top.get("exec-opts", []), "exec-opts") if each.startswith(_CGROUP_OPTION)]
    default = top.get("default-runtime")
    cdi = features.get("cdi")
    return DaemonFile(
        path=path,
        runtimes={str(name)[:256]: _runtime(name, each) for name, each in list(runtimes.items())[:256]},
        default_runtime=None if default is None else _typed(default, str, "default-runtime")[:256],
        cgroup_driver=driver[-1].removeprefix(_CGROUP_OPTION)[:64] if driver else None,
        cdi=None if cdi is None else _typed(cdi, bool, "features.cdi"),
        cdi_spec_dirs=tuple(each[:1024] for each in folders[:64]),
        changed=changed,
    )


def _runtime(name: str, value: Any) -> str:
    each = _typed(value, dict, f"runtimes.{name}")
    path = each.get("path") or each.get("runtimeType") or ""
    return str(_typed(path, str, f"runtimes.{name}.path"))[:1024]


def _texts(value: Any, name: str) -> list[str]:
    return [_typed(each, str, f"{name}[]") for each in _typed(value, list, name)]


def _typed(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        words = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
        raise _Form(f"{name} is not {words[kind]}")
    return value


def read_toolkit_config(root: Root) -> ToolkitConfig | Unavailable | None:
    """Read the toolkit's configuration; None when there is none, and it uses its defaults."""
    try:
        data = root.read_bytes(CONFIG, _MAX_BYTES + 1)
    except PermissionError:
        return Unavailable(f"no permission to read {CONFIG}", "no-permission")
    return None if data is None else parse_toolkit_config(data, changed_of(root, CONFIG))


def parse_toolkit_config(data: bytes, changed: str | Unavailable) -> ToolkitConfig:
    """Read config.toml; one that is no TOML carries the failure with its line."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        if len(data) > _MAX_BYTES:
            raise _Form("larger than 1 MiB: not read")
        top = tomllib.loads(data.decode("utf-8"))
        command, runtime, hook = (
            _typed(top.get(f"nvidia-container-{part}", {}), dict, f"[nvidia-container-{part}]")
            for part in ("cli", "runtime", "runtime-hook")
        )
        return ToolkitConfig(
            path=CONFIG,
            mode=_optional(runtime, "mode", str),
            no_cgroups=_optional(command, "no-cgroups", bool),
            root=_optional(command, "root", str),
            ldconfig=_optional(command, "ldconfig", str),
            accept_environment=_optional(top, "accept-nvidia-visible-devices-envvar-when-unprivileged", bool),
            accept_mounts=_optional(top, "accept-nvidia-visible-devices-as-volume-mounts", bool),
            skip_mode_detection=_optional(hook, "skip-mode-detection", bool),
            changed=changed,
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, _Form) as error:
        failure = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return ToolkitConfig(path=CONFIG, changed=changed, failure=failure[:300])


def _optional(table: dict[str, Any], name: str, kind: type) -> Any:
    value = table.get(name)
    found = None if value is None else _typed(value, kind, name)
    return found[:1024] if isinstance(found, str) else found


def socket_facts(root: Root, path: str) -> dict[str, Any]:
    """Return a socket's owner, group and mode as ``ls`` shows them, and whether this user may open it."""
    status = root.stat(path)
    if status is None or not stat.S_ISSOCK(status.st_mode):
        return {}
    user, group = _name(root, "/etc/passwd", status.st_uid), _name(root, "/etc/group", status.st_gid)
    real = root.path(path)
    return {
        "socket": path[:1024],
        "socket_mode": f"{stat.filemode(status.st_mode)} {user} {group}"[:200],
        "socket_allowed": os.access(real, os.R_OK | os.W_OK, effective_ids=True) if root.live else Unavailable(
            "whose user asks is not known of a tree of files", "not-applicable"),
    }


def _name(root: Root, table: str, number: int) -> str:
    try:
        text = root.read(table, 8 << 20) or ""
    except PermissionError:
        text = ""
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(number):
            return fields[0][:64]
    return str(number)
