"""Processes on a GPU, and what /proc tells of each: no command lines, which may hold secrets."""

import ctypes
import os
import re
import struct
from collections.abc import Callable
from typing import Any

import pynvml

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import GpuProcess
from gpudoctor.probes.nvml_questions import Questions
from gpudoctor.probes.root import Root

_SUCCESS, _INSUFFICIENT_SIZE = 0, 7
_NO_FIGURE = 2**64 - 1
_MAX_PID = 1 << 22
_MAX_PROCESSES = 4096
_CONTAINER = re.compile(r"[/:-]([0-9a-f]{64})(?:\.scope)?(?:/|$)", re.MULTILINE)

#: One entry as ``struct`` unpacks it. The first 535 drivers returned the long form under the name of the short one.
_SHORT, _LONG, _OLDEST = "=I4xQII", "=I4xQIIQ", "=I4xQ"
_FORMS = (("_v3", (_SHORT, _LONG)), ("_v2", (_SHORT,)), ("", (_OLDEST,)))


def processes(ask: Questions, handle: Any, root: Root) -> tuple[GpuProcess, ...] | Unavailable:
    """Read compute and graphics processes; memory is None where the driver does not tell."""
    found: list[GpuProcess] = []
    seen: set[int] = set()
    for kind, word in (("compute", "Compute"), ("graphics", "Graphics")):
        answer = _entries(ask, handle, f"nvmlDeviceGet{word}RunningProcesses", root)
        if isinstance(answer, Unavailable):
            if kind == "compute":
                return answer
            continue
        for pid, used in answer:
            if pid not in seen:
                seen.add(pid)
                found.append(_process(root, pid, kind, used))
    return tuple(found)


def _entries(ask: Questions, handle: Any, name: str, root: Root) -> list[tuple[int, int | None]] | Unavailable:
    answer: Any = Unavailable(f"{name}: this driver does not know it", "driver-too-old")
    for suffix, forms in _FORMS:
        answer = ask.ask(_raw, handle, name + suffix, doing=name + suffix)
        if not isinstance(answer, Unavailable):
            data, count = answer
            return choose([unpack(data, count, form) for form in forms], lambda pid: root.exists(f"/proc/{pid}"))
        if answer.kind != "driver-too-old":
            break
    gap: Unavailable = answer
    return gap


def _raw(handle: Any, symbol: str) -> tuple[bytes, int]:
    """Return what NVML wrote and the number of entries: the Python library decides on a form too soon."""
    function = getattr(pynvml.nvmlLib, symbol, None)
    if function is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    count = ctypes.c_uint(0)
    code = function(handle, ctypes.byref(count), None)
    if code == _INSUFFICIENT_SIZE:
        count.value = room = min(count.value, _MAX_PROCESSES) * 2 + 8
        buffer = ctypes.create_string_buffer(room * struct.calcsize(_LONG))
        code = function(handle, ctypes.byref(count), buffer)
        if code == _SUCCESS:
            return buffer.raw, min(count.value, room)
    if code != _SUCCESS:
        raise pynvml.NVMLError(code)
    return b"", 0


def unpack(data: bytes, count: int, form: str) -> list[tuple[int, int | None]]:
    """Return ``(pid, bytes)`` of each entry in this form."""
    size = struct.calcsize(form)
    entries = struct.iter_unpack(form, data[: count * size])
    return [(entry[0], None if entry[1] == _NO_FIGURE else entry[1]) for entry in entries]


def choose(
    readings: list[list[tuple[int, int | None]]], exists: Callable[[int], bool]
) -> list[tuple[int, int | None]]:
    """Choose the reading whose pids make most sense: they exist, or at least could."""

    def sense(reading: list[tuple[int, int | None]]) -> tuple[int, int]:
        possible = [pid for pid, _ in reading if 0 < pid <= _MAX_PID]
        return len({pid for pid in possible if exists(pid)}), len(set(possible))

    best = max(readings, key=sense)
    return [(pid, used) for pid, used in best if 0 < pid <= _MAX_PID]


def _process(root: Root, pid: int, kind: str, used: int | None) -> GpuProcess:
    return GpuProcess(
        pid=pid,
        kind=kind,
        used_bytes=used,
        name=_name(root, pid),
        user=_user(root, pid),
        started_seconds_ago=_age(root, pid),
        container=container_id(_read(root, f"/proc/{pid}/cgroup")),
    )


def _read(root: Root, name: str) -> str:
    try:
        return root.read(name, 1 << 16) or ""
    except PermissionError:
        return ""


def _name(root: Root, pid: int) -> str | None:
    """Return the program's file name; the kernel's short name of it where another user's link is not readable."""
    path = root.readlink(f"/proc/{pid}/exe")
    if path:
        return os.path.basename(path.removesuffix(" (deleted)")) or None
    return _read(root, f"/proc/{pid}/comm") or None


def _user(root: Root, pid: int) -> str | None:
    found = re.search(r"^Uid:\s*(\d+)", _read(root, f"/proc/{pid}/status"), re.MULTILINE)
    if found is None:
        return None
    for line in _read(root, "/etc/passwd").splitlines():
        name, _, rest = line.partition(":")
        if rest.split(":")[1:2] == [found[1]]:
            return name
    return found[1]


def _age(root: Root, pid: int) -> float | None:
    # The name in parentheses may hold spaces; starttime is the 22nd field, the 20th after it.
    fields = _read(root, f"/proc/{pid}/stat").rpartition(")")[2].split()
    uptime = _read(root, "/proc/uptime").split()
    if len(fields) < 20 or not uptime:
        return None
    try:
        return round(max(0.0, float(uptime[0]) - int(fields[19]) / os.sysconf("SC_CLK_TCK")), 1)
    except ValueError:
        return None


def container_id(cgroup: str) -> str | None:
    """Find the 64 hexadecimal digits by which Docker, containerd, CRI-O and Podman name a container's group."""
    found = _CONTAINER.search(cgroup)
    return found[1] if found else None
