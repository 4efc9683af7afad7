"""nginx configurations: this machine's, those inside containers where nginx runs, and those that were named."""

import os
import re
from collections.abc import Sequence

from gpudoctor.facts.proxy import Configuration, OtherProxy, Proxy
from gpudoctor.nginx.configuration import read_configuration
from gpudoctor.nginx.syntax import MAX_CHARS
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("proxy",)
OPTIONS = ("nginx",)

_PLACES = ("/etc/nginx/nginx.conf", "/usr/local/nginx/conf/nginx.conf", "/usr/local/openresty/nginx/conf/nginx.conf")
#: Programs that stand before web services, and whose configuration nobody reads here.
_OTHERS = ("caddy", "traefik", "haproxy", "envoy")
_MOST_CONTAINERS = 16
_MOST_OTHERS = 16
_MOST_PROCESSES = 100_000


def probe(out: Reporter, root: Root, nginx: Sequence[str] = ()) -> None:
    """Fill ``proxy``.

    Args:
        out: Where the facts go.
        root: Prefix of every file read.
        nginx: Read these instead of looking for any.
    """
    others = () if nginx else _others(root)
    out.section("proxy", Proxy(others=others))
    looked = len(others)
    if nginx:
        for path in nginx:
            looked += _read(out, Root("/"), path, path)
    else:
        for path in _PLACES:
            if root.exists(path):
                looked += _read(out, root, path, path)
        for pid, container in _inside_containers(root):
            inside = Root(f"/proc/{pid}/root")
            looked += _read(out, inside, _PLACES[0], f"{_PLACES[0]} in container {container}", container)
    if not looked:
        out.unavailable("proxy", "no nginx configuration is here", "not-applicable")


def _read(out: Reporter, root: Root, path: str, item: str, container: str | None = None) -> bool:
    if out.left_out(item):
        return True
    stand_in = Configuration(path=path, container=container, files=0)
    out.start(item, section="proxy", field="configurations", placeholder=stand_in)
    out.append("proxy", "configurations", _configuration(root, path, container))
    return True


def _configuration(root: Root, path: str, container: str | None) -> Configuration:
    def names(pattern: str) -> Sequence[str]:
        if any(letter in pattern for letter in "*?["):
            return list(root.glob(pattern))
        return [pattern] if root.exists(pattern) else []

    def text(name: str) -> str | None:
        try:
            # One byte more than is read, so that what is too long is seen to be.
            return root.read(name, MAX_CHARS + 1)
        except PermissionError:
            return None

    return read_configuration(path, names, text, container=container)


def _inside_containers(root: Root) -> list[tuple[int, str]]:
    """Return one nginx process for each file system that is not ours; looking into it takes root."""
    if not root.live or os.geteuid() != 0:
        return []
    found: dict[str, tuple[int, str]] = {}
    own = root.readlink("/proc/self/ns/mnt")
    pids = [name for name in os.listdir("/proc") if name.isdigit()][:_MOST_PROCESSES]
    for pid in sorted(pids, key=int):
        if root.read(f"/proc/{pid}/comm", 64) != "nginx":
            continue
        space = root.readlink(f"/proc/{pid}/ns/mnt")
        if space is None or space == own or space in found or len(found) == _MOST_CONTAINERS:
            continue
        match = re.search(r"[0-9a-f]{64}", root.read(f"/proc/{pid}/cgroup", 1 << 16) or "")
        if match is not None:
            found[space] = (int(pid), match[0])
    return list(found.values())


def _others(root: Root) -> tuple[OtherProxy, ...]:
    """Return the other proxies at work, one for each container and one for this machine itself."""
    found: dict[tuple[str, str | None], OtherProxy] = {}
    for pid in sorted((name for name in root.list("/proc") if name.isdigit()), key=int)[:_MOST_PROCESSES]:
        try:
            name = (root.read(f"/proc/{pid}/comm", 64) or "").strip()
            if name not in _OTHERS:
                continue
            match = re.search(r"[0-9a-f]{64}", root.read(f"/proc/{pid}/cgroup", 1 << 16) or "")
        except PermissionError:
            continue
        container = match[0] if match is not None else None
        found.setdefault((name, container), OtherProxy(name=name, pid=int(pid), container=container))
    return tuple(found.values())[:_MOST_OTHERS]
