"""Which container engine answers here: DOCKER_HOST, contexts, the usual sockets. Other machines are never asked."""

import errno
import hashlib
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from gpudoctor.facts.base import Reason, Unavailable
from gpudoctor.probes.root import Root

DOCKER_SOCKET = "/var/run/docker.sock"
#: Where dockerd lies: packages, static archives, snap, rootless installations.
_DAEMONS = ("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd", "/usr/local/sbin/dockerd",
            "/run/current-system/sw/bin/dockerd", "/snap/bin/docker.dockerd", "/snap/docker/current/bin/dockerd",
            "/opt/bin/dockerd")
_REMOTE = ("tcp", "http", "https", "ssh")
_CONNECT_SECONDS = 3.0
_MAX_FILE = 1 << 20
_MAX_PROCESSES = 200_000


class EngineSocket(NamedTuple):
    """An engine that accepts connections. ``pid`` is its daemon's process, None when it cannot be told from here."""

    address: str
    pid: int | None


class _Candidate(NamedTuple):
    address: str
    named_by: str | None


def daemon_program(root: Root, environment: Mapping[str, str]) -> str | None:
    """Return dockerd's place, None when it is not installed."""
    home = environment.get("HOME", "")
    own = (f"{home}/bin/dockerd",) if root.live and home.startswith("/") else ()
    return next((place for place in (*_DAEMONS, *own) if root.exists(place)), None)


def find_engine(root: Root, environment: Mapping[str, str]) -> EngineSocket | Unavailable:
    """Return the first engine of this machine that accepts a connection, or why there is none.

    What the user named (DOCKER_HOST, a context) is the only candidate, unless it is on another machine. Nothing is
    sent, and no daemon is started: systemd would do so at the first connection to the socket of a stopped Docker.
    """
    remote: str | None = None
    refusal: Unavailable | None = None
    for address, named_by in _candidates(root, environment):
        if not is_local(address):
            scheme = address.partition("://")[0][:20]
            remote = (f"{named_by} names an engine on another machine ({scheme}://), which is not asked"
                      if scheme in _REMOTE else f"{named_by} is no address that gpudoctor knows")
            continue
        found = _connect(root, address)
        if isinstance(found, EngineSocket):
            return found
        if named_by is not None or (refusal is None and found.kind != "not-applicable"):
            refusal = found if named_by is None else Unavailable(f"{named_by}: {found.reason}", _found_kind(found))
    if refusal is not None:
        return refusal
    if daemon_program(root, environment) is not None:
        return Unavailable(f"Docker is installed but does not run: there is no {DOCKER_SOCKET}", "error")
    if remote is not None:
        return Unavailable(remote, "not-asked")
    return Unavailable("no container engine with a socket is installed here", "not-applicable")


def _found_kind(found: Unavailable) -> Reason:
    # What was named and is not there is a failure; what merely could have been there is not.
    return "error" if found.kind == "not-applicable" else found.kind


def _candidates(root: Root, environment: Mapping[str, str]) -> Iterator[_Candidate]:
    if host := environment.get("DOCKER_HOST", "").strip():
        yield _Candidate(host, "DOCKER_HOST")
        if is_local(host):
            return
    elif (context := _context(root, environment)) is not None:
        yield context
        if is_local(context.address):
            return
    user = os.geteuid()
    run = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{user}"
    home = environment.get("HOME", "")
    others = sorted(root.glob("/run/user/*/docker.sock")) if user == 0 else []
    for path in dict.fromkeys(
        (DOCKER_SOCKET, f"{run}/docker.sock", *others, f"{home}/.docker/desktop/docker.sock",
         f"{home}/.docker/run/docker.sock", "/run/podman/podman.sock", f"{run}/podman/podman.sock")
    ):
        yield _Candidate(f"unix://{path}", None)


def _context(root: Root, environment: Mapping[str, str]) -> _Candidate | None:
    """Return the endpoint of the current Docker context; None for the default one."""
    folder = environment.get("DOCKER_CONFIG") or f"{environment.get('HOME', '')}/.docker"
    name = environment.get("DOCKER_CONTEXT") or _json(root, f"{folder}/config.json").get("currentContext")
    if not isinstance(name, str) or name in ("", "default"):
        return None
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    endpoints = _json(root, f"{folder}/contexts/meta/{digest}/meta.json").get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = docker.get("Host") if isinstance(docker, dict) else None
    return _Candidate(host, "the current Docker context") if isinstance(host, str) and host else None


def _json(root: Root, name: str) -> dict[str, object]:
    try:
        found = msgspec.json.decode(root.read_bytes(name, _MAX_FILE) or b"{}")
    except (PermissionError, msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_local(address: str) -> bool:
    """True for sockets in the file system and for this machine's loopback."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address.startswith("/")
    if scheme == "unix":
        return rest.startswith("/")
    if scheme not in ("tcp", "http"):
        return False
    host = re.sub(r":\d*$", "", rest.partition("/")[0]).strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def socket_path(address: str) -> str | None:
    """Return the path of a socket in the file system, None for another address."""
    path = address.removeprefix("unix://")
    return path if path.startswith("/") else None


def _connect(root: Root, address: str) -> EngineSocket | Unavailable:
    path = socket_path(address)
    if path is None:
        # Told from nonsense only when it is asked.
        return EngineSocket(address, None)
    if (reason := _would_start(root, path)) is not None:
        return Unavailable(reason, "error")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_CONNECT_SECONDS)
        try:
            connection.connect(path)
        except (OSError, ValueError) as error:
            return _refusal(path, error)
        peer = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return EngineSocket(address if "://" in address else f"unix://{path}", _daemon(root, peer))


def _refusal(path: str, error: OSError | ValueError) -> Unavailable:
    if not isinstance(error, OSError) or error.errno is None:
        return Unavailable(f"{path[:200]} is no name of a socket: {error}", "error")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Unavailable(f"there is no {path}", "not-applicable")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Unavailable(f"this user may not open {path}", "no-permission")
    if error.errno == errno.ECONNREFUSED:
        return Unavailable(f"nobody listens on {path}: the daemon does not run", "error")
    if isinstance(error, TimeoutError) or error.errno == errno.EAGAIN:
        return Unavailable(f"{path} took no connection within {_CONNECT_SECONDS:g} s", "timeout")
    return Unavailable(f"{path}: {error.strerror or error}", "error")


def _would_start(root: Root, path: str) -> str | None:
    """Say why a socket is left alone: systemd holds it for a Docker that is stopped."""
    if os.path.realpath(path) not in ("/run/docker.sock", "/var/run/docker.sock") or not root.exists(path):
        return None
    if not root.exists("/run/systemd/system") or running_daemon(root) is not None:
        return None
    if _comm(root, 1) != "systemd" or not root.exists("/proc/1/stat"):
        return None
    return "Docker is stopped; systemd (docker.socket) would start it if it were asked"


def running_daemon(root: Root) -> int | None:
    """Return the process of Docker's daemon: from its pid file, else by name; None when none is seen."""
    try:
        text = (root.read("/var/run/docker.pid", 32) or "").strip()
    except PermissionError:
        text = ""
    if text.isdigit() and _comm(root, int(text)) == "dockerd":
        return int(text)
    for name in root.list("/proc")[:_MAX_PROCESSES]:
        if name.isdigit() and _comm(root, int(name)) == "dockerd":
            return int(name)
    return None


def _daemon(root: Root, peer: int) -> int | None:
    """Return the daemon behind a socket: who listens, unless that is systemd, which only holds the socket for it."""
    return peer if peer > 1 and _comm(root, peer) != "systemd" else running_daemon(root) if peer == 1 else None


def _comm(root: Root, pid: int) -> str:
    try:
        return root.read(f"/proc/{pid}/comm", 64) or ""
    except PermissionError:
        return ""
