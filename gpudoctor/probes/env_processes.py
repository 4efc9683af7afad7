"""Python environments of running processes: from /proc alone. Arguments and variables are looked at, never recorded."""

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpudoctor.facts.cuda_libraries import LoadedLibrary
from gpudoctor.facts.python_envs import LeftOut
from gpudoctor.probes.cuda_names import is_cuda
from gpudoctor.probes.driver_libraries import folders_of
from gpudoctor.probes.environment import parse_environ
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*t?$")
_IN_PACKAGES = re.compile(r"(/.+)/lib(?:64)?/python3\.\d+t?/(?:site|dist)-packages/")
_CONTAINER = re.compile(r"(?:docker|libpod|cri-containerd|crio|containerd|kubepods)[^\n]*?([0-9a-f]{64})")
_MAPS_BYTES = 8 << 20
_MAX_LOADED = 64
_MAX_PROCESSES = 1024


class Running(NamedTuple):
    """One Python process. ``root`` is its file system's place under /proc when that is not the host's, else None."""

    pid: int
    prefix: str
    root: str | None
    container: str | None
    library_path: tuple[str, ...] | None
    loaded: tuple[LoadedLibrary, ...]


def running(out: Reporter, root: Root, skip: Sequence[int] = ()) -> Iterator[Running]:
    """Yield the Python processes that this user can see; each is an item of its own, for /proc can hang, too."""
    own = root.stat("/")
    count = 0
    for name in sorted(root.list("/proc"), key=lambda each: (len(each), each)):
        if not name.isdigit() or int(name) in skip:
            continue
        item = f"process {name}"
        if out.left_out(item):
            continue
        out.start(item, section="python_envs", field="left_out",
                  placeholder=LeftOut(path=f"/proc/{name}", failure=""))
        found = _look(root, int(name), own)
        if found is not None:
            yield found
            count += 1
            if count == _MAX_PROCESSES:
                return


def _look(root: Root, pid: int, own: os.stat_result | None) -> Running | None:
    base = f"/proc/{pid}"
    arguments = (_read(root, f"{base}/cmdline", 1 << 16) or b"").split(b"\0")
    program = arguments[0].decode("utf-8", "replace") if arguments else ""
    executable = root.readlink(f"{base}/exe") or ""
    if not (_PYTHON.search(executable.removesuffix(" (deleted)")) or _PYTHON.search(program)):
        return None
    maps = (_read(root, f"{base}/maps", _MAPS_BYTES) or b"").decode("utf-8", "replace")
    elsewhere = other_root(root, pid, own)
    inside = Root(str(root.path(elsewhere))) if elsewhere else root
    prefix = _prefix(inside, program, executable, maps)
    if prefix is None:
        return None
    environ = _read(root, f"{base}/environ", 1 << 20)
    container = container_of(root, pid) if elsewhere else None
    path = None if environ is None else folders_of(parse_environ(environ).get("LD_LIBRARY_PATH", ""))
    return Running(pid, prefix, elsewhere, container, path, loaded_libraries(pid, maps))


def _read(root: Root, name: str, limit: int) -> bytes | None:
    try:
        return root.read_bytes(name, limit)
    except PermissionError:
        return None


def other_root(root: Root, pid: int, own: os.stat_result | None) -> str | None:
    """Return a process's root when it is another file system than ours, None otherwise: then it is in a container.

    Args:
        root: The file system.
        pid: The process.
        own: The status of ``/``.
    """
    status = root.stat(f"/proc/{pid}/root/") if root.live else None
    if status is None or own is None or (status.st_dev, status.st_ino) == (own.st_dev, own.st_ino):
        return None
    return f"/proc/{pid}/root"


def container_of(root: Root, pid: int) -> str:
    """Return the short id of a process's container, ``pid N`` when its control group does not tell."""
    match = _CONTAINER.search((_read(root, f"/proc/{pid}/cgroup", 1 << 16) or b"").decode("utf-8", "replace"))
    return match[1][:12] if match else f"pid {pid}"


def _prefix(root: Root, program: str, executable: str, maps: str) -> str | None:
    # An executable in a venv is a link that the kernel has resolved: only what was typed names the venv.
    if program.startswith("/") and _PYTHON.search(program):
        folder = os.path.dirname(os.path.dirname(program))
        if root.exists(f"{folder}/pyvenv.cfg") or root.exists(f"{folder}/conda-meta"):
            return folder
    match = _IN_PACKAGES.search(maps)
    if match and root.exists(match[1]):
        return "/usr" if match[1] == "/usr/local" and executable.startswith("/usr/bin/") else match[1]
    executable = executable.removesuffix(" (deleted)")
    return os.path.dirname(os.path.dirname(executable)) or None if executable.startswith("/") else None


def loaded_libraries(pid: int, maps: str) -> tuple[LoadedLibrary, ...]:
    """Read /proc/PID/maps: the CUDA libraries that a process has in memory, each once."""
    found: dict[str, LoadedLibrary] = {}
    for line in maps.splitlines():
        at = line.find("/")
        path = line[at:] if at >= 0 else ""
        name = path.rpartition("/")[2]
        if path not in found and is_cuda(name):
            found[path] = LoadedLibrary(pid=pid, soname=name, path=path)
    return tuple(found.values())[:_MAX_LOADED]
