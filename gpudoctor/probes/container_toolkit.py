"""The files by which GPUs reach containers: the engine's configuration, NVIDIA's toolkit, CDI, the socket's rights."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit, DaemonFile, OtherEngine, Program
from gpudoctor.probes.cdi_specs import changed_of, read_specs
from gpudoctor.probes.command import SYSTEM_PATH
from gpudoctor.probes.docker_facts import path_of
from gpudoctor.probes.docker_files import (
    daemon_arguments,
    option,
    read_daemon_file,
    read_toolkit_config,
    socket_facts,
)
from gpudoctor.probes.engine_socket import DOCKER_SOCKET, EngineSocket, daemon_program, find_engine, socket_path
from gpudoctor.probes.regular_file import names_in
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root
from gpudoctor.probes.toolkit_packages import TOOLKIT, Packages, library_version, read_packages, toolkit_version

SECTIONS = ("container_toolkit",)
OPTIONS: tuple[str, ...] = ()

_PROGRAMS = ("nvidia-container-runtime-hook", "nvidia-container-toolkit", "nvidia-container-runtime",
             "nvidia-container-runtime.cdi", "nvidia-container-runtime.legacy", "nvidia-cdi-hook", "nvidia-ctk",
             "nvidia-container-cli")
_MORE_FOLDERS = ("/usr/local/nvidia/toolkit", "/opt/nvidia/toolkit", "/snap/docker/current/usr/bin")
_ENGINES = {"podman": "podman", "containerd": "containerd", "nerdctl": "nerdctl", "crio": "cri-o",
            "apptainer": "apptainer", "singularity": "singularity", "k3s": "k3s", "lxc": "lxc"}
_UNITS = ("nvidia-cdi-refresh.service", "nvidia-cdi-refresh.path")
_UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_ITEM = "the container toolkit's files"


def probe(out: Reporter, root: Root) -> None:
    """Fill ``container_toolkit``. Homes and the daemon's folders may lie on a volume that hangs: it is one item."""
    if out.left_out(_ITEM):
        out.unavailable("container_toolkit", "its files could not be read in time", "timeout")
        return
    out.start(_ITEM, section="container_toolkit")
    out.section("container_toolkit", read_toolkit(root, os.environ if root.live else {}))


def read_toolkit(root: Root, environment: Mapping[str, str]) -> ContainerToolkit:
    """Read everything below ``root``; the running daemon is looked at only on the live system."""
    engine = find_engine(root, environment) if root.live else None
    running = engine if isinstance(engine, EngineSocket) else None
    pid = running.pid if running else None
    endpoint = running.address if running else None
    arguments = daemon_arguments(root, pid)
    daemon_file = read_daemon_file(root, arguments, endpoint, environment)
    socket = socket_facts(root, (socket_path(endpoint) if endpoint else None) or _socket(root, environment))
    daemon_path = _daemon_path(root, pid)
    programs = tuple(_programs(root, daemon_path, _runtime_folders(daemon_file)))
    packages = read_packages(root)
    by_name = {each.name: each.path for each in programs}
    known = next((by_name[name] for name in ("nvidia-ctk", "nvidia-container-runtime", "nvidia-container-cli")
                  if name in by_name), None)
    return ContainerToolkit(
        installed=bool(daemon_program(root, environment) or socket or running),
        version=toolkit_version(root, packages, known),
        libnvidia_container_version=library_version(root, packages),
        installed_at=_installed_at(root, packages, known),
        programs=programs,
        daemon_file=daemon_file,
        config=read_toolkit_config(root),
        cdi_specs=read_specs(root, _cdi_folders(arguments, daemon_file)),
        char_links=_char_links(root),
        refresh_units=_refresh_units(root),
        selinux=_selinux(root),
        systemd_version=_systemd_version(root),
        other_engines=tuple(_other_engines(root, packages)),
        **socket,
    )


def _socket(root: Root, environment: Mapping[str, str]) -> str:
    named = socket_path(environment.get("DOCKER_HOST", ""))
    return named or DOCKER_SOCKET


def _daemon_path(root: Root, pid: int | None) -> tuple[str, ...] | Unavailable:
    if pid is None:
        return Unavailable("no running daemon can be seen, so its PATH is not known", "not-applicable")
    return path_of(root, pid)


def _runtime_folders(daemon_file: DaemonFile | Unavailable | None) -> list[str]:
    """Return where registered runtimes lie that are named by their whole path."""
    paths = daemon_file.runtimes.values() if isinstance(daemon_file, DaemonFile) else ()
    return [path.rpartition("/")[0] for path in paths if path.startswith("/")]


def _programs(
    root: Root, daemon_path: tuple[str, ...] | Unavailable, more_folders: Sequence[str]
) -> Iterator[Program]:
    theirs = [] if isinstance(daemon_path, Unavailable) else [each for each in daemon_path if each.startswith("/")]
    folders = tuple(dict.fromkeys((*theirs, *SYSTEM_PATH.split(":"), *_MORE_FOLDERS, *more_folders)))
    for name in _PROGRAMS:
        path = _find(root, folders, name)
        if path is None:
            continue
        folder = path.rpartition("/")[0]
        yield Program(
            name=name,
            path=path,
            executable=_executable(root, path),
            on_daemon_path=daemon_path if isinstance(daemon_path, Unavailable) else folder in theirs,
            changed=changed_of(root, path, arrived=True),
        )


def _find(root: Root, folders: Sequence[str], name: str) -> str | None:
    there = [f"{folder.rstrip('/')}/{name}" for folder in folders if root.exists(f"{folder.rstrip('/')}/{name}")]
    return next((path for path in there if _executable(root, path)), there[0] if there else None)


def _executable(root: Root, path: str) -> bool:
    status = root.stat(path)
    return status is not None and bool(status.st_mode & 0o111) and not status.st_mode & 0o040000


def _installed_at(root: Root, packages: Packages, program: str | None) -> str | Unavailable:
    for name in TOOLKIT:
        if name in packages.installed_at:
            return packages.installed_at[name]
    return Unavailable("it is not installed", "not-applicable") if program is None else changed_of(
        root, program, arrived=True)


def _cdi_folders(arguments: Sequence[str], daemon_file: DaemonFile | Unavailable | None) -> list[str]:
    configured = daemon_file.cdi_spec_dirs if isinstance(daemon_file, DaemonFile) else ()
    return [*option(arguments, "--cdi-spec-dir"), *configured]


def _char_links(root: Root) -> tuple[str, ...] | Unavailable:
    if root.stat("/dev/char") is None:
        return Unavailable("there is no /dev/char", "not-supported")
    names = names_in(root, "/dev/char", 100_000)
    return tuple(f"/dev/char/{name}" for name in names if name.startswith("195:"))[:1024]


def _refresh_units(root: Root) -> dict[str, str]:
    """Return ``enabled``, ``disabled`` or ``masked`` of the units that there are, from systemd's files."""
    found: dict[str, str] = {}
    for unit in _UNITS:
        if any(root.readlink(f"{folder}/{unit}") == "/dev/null" for folder in _UNIT_FOLDERS[:2]):
            found[unit] = "masked"
        elif any(root.exists(f"{folder}/{unit}") for folder in _UNIT_FOLDERS):
            # The link itself: what it leads to may be named by a path of the running system.
            wanted = any(root.readlink(f"{folder}/{unit}") for folder in root.glob("/etc/systemd/system/*.wants"))
            found[unit] = "enabled" if wanted else "disabled"
    return found


def _selinux(root: Root) -> str | None:
    enforcing = root.read_int("/sys/fs/selinux/enforce")
    if enforcing is not None:
        return "enforcing" if enforcing else "permissive"
    return "disabled" if root.exists("/etc/selinux/config") else None


def _systemd_version(root: Root) -> str | Unavailable | None:
    """Return the number in the name of systemd's own library, where systemd runs this machine."""
    if root.live and not root.exists("/run/systemd/system"):
        return None
    for folder in ("/usr/lib/systemd", "/lib/systemd", "/usr/lib/*/systemd"):
        for path in root.glob(f"{folder}/libsystemd-shared-*.so"):
            if match := re.search(r"shared-(\d{2,4})\b", path):
                return match[1]
    return Unavailable("systemd's library is not where it should be") if root.exists("/run/systemd/system") else None


def _other_engines(root: Root, packages: Packages) -> Iterator[OtherEngine]:
    for program, name in _ENGINES.items():
        path = _find(root, SYSTEM_PATH.split(":"), program)
        if path is not None:
            version = packages.versions.get(name) or packages.versions.get(f"{name}.io")
            yield OtherEngine(name=name, path=path, version=version)
