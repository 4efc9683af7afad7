"""Running processes: who listens where, exporters, engines, and who is stuck in the kernel.

Command lines are looked at to tell engines apart, and never recorded: they hold tokens.
"""

import ipaddress
import os
import re
import socket
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import psutil

from gpudoctor.facts.network import Listener, Processes
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("processes",)
OPTIONS: tuple[str, ...] = ()

_LISTEN = "0A"
_MAX_STUCK = 64
_SECOND_LOOK_SECONDS = 0.3

#: Program names of exporters and agents, and what we call them.
_EXPORTERS = {
    "dcgm-exporter": "dcgm-exporter",
    "nv-hostengine": "nv-hostengine",
    "nvidia_gpu_exporter": "nvidia_gpu_exporter",
    "nvidia-gpu-exporter": "nvidia_gpu_exporter",
    "nvidia_smi_exporter": "nvidia_smi_exporter",
    "node_exporter": "node_exporter",
    "prometheus-node-exporter": "node_exporter",
    "amd_smi_exporter": "amd_smi_exporter",
    "device-metrics-exporter": "device-metrics-exporter",
    "gpud": "gpud",
    "netdata": "netdata",
    "telegraf": "telegraf",
    "zabbix_agentd": "zabbix",
    "zabbix_agent2": "zabbix",
}


class Socket(NamedTuple):
    """One listening socket of the kernel's table."""

    address: str
    port: int
    inode: str


class Running(NamedTuple):
    """One process, without its arguments."""

    pid: int
    name: str
    engine: str | None
    exporter: str | None
    stuck: bool


def probe(out: Reporter, root: Root) -> None:
    """Fill ``processes``."""
    # Under a prefix the first process lives in that system's own network, "self" in ours.
    folder = "/proc/net" if root.live else "/proc/1/net"
    tables = [root.read(f"{folder}/{name}", 64 << 20) for name in ("tcp", "tcp6")]
    if tables == [None, None] and not root.live:
        tables = [root.read(f"/proc/net/{name}", 64 << 20) for name in ("tcp", "tcp6")]
    if tables == [None, None]:
        out.unavailable("processes", "the kernel shows no table of TCP sockets under /proc", "error")
        return
    sockets = [found for text in tables for found in parse_sockets(text or "")]
    running = _running(root)
    owners = _owners(root, {found.inode for found in sockets}, [process.pid for process in running])
    by_pid = {process.pid: process for process in running}
    out.section(
        "processes",
        Processes(
            listeners=tuple(_listeners(sockets, owners, by_pid)),
            exporters=tuple(sorted({process.exporter for process in running if process.exporter})),
            engines=tuple(sorted({process.engine for process in running if process.engine})),
            uninterruptible=_stuck(running)[:_MAX_STUCK],
        ),
    )


def parse_sockets(text: str) -> list[Socket]:
    """Read the listening sockets of /proc/net/tcp or tcp6: addresses are hexadecimal, words in machine order."""
    found: list[Socket] = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != _LISTEN:
            continue
        address, _, port = fields[1].partition(":")
        try:
            found.append(Socket(_address(address), int(port, 16), fields[9]))
        except ValueError:
            continue
    return found


def _address(text: str) -> str:
    data = bytes.fromhex(text)
    if sys.byteorder == "little":
        data = b"".join(data[i : i + 4][::-1] for i in range(0, len(data), 4))
    if len(data) == 4:
        return socket.inet_ntoa(data)
    return str(ipaddress.IPv6Address(data))


def _running(root: Root) -> list[Running]:
    psutil.PROCFS_PATH = str(root.path("/proc"))
    found: list[Running] = []
    for pid in psutil.pids():
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                name, status = process.name(), process.status()
                try:
                    arguments = process.cmdline()
                except psutil.AccessDenied:
                    arguments = []
        except (psutil.Error, OSError, ValueError, IndexError, RuntimeError):
            continue
        engine = engine_of(name, arguments)
        stuck = status == psutil.STATUS_DISK_SLEEP and bool(arguments)
        found.append(Running(pid, name, engine, exporter_of(name, arguments), stuck))
    return found


def engine_of(name: str, arguments: Sequence[str]) -> str | None:
    """Tell which engine's server a process is, by its name and arguments; None for clients and all others."""
    programs = [argument.rsplit("/", 1)[-1] for argument in arguments[:2]] or [name]
    module = next((arguments[i + 1] for i in range(len(arguments) - 1) if arguments[i] == "-m"), "")
    lower = name.lower()
    if lower.startswith("vllm::") or module.startswith("vllm.entrypoints") or _serves("vllm", programs, arguments):
        return "vllm"
    if lower.startswith("sglang::") or module.startswith("sglang.launch") or _serves("sglang", programs, arguments):
        return "sglang"
    if "ollama_llama_server" in programs or _serves("ollama", programs, arguments):
        return "ollama"
    if "llama-server" in programs:
        return "llama.cpp"
    if any(program.startswith(("text-generation-launcher", "text-generation-router")) for program in programs):
        return "tgi"
    return None


def _serves(program: str, programs: Sequence[str], arguments: Sequence[str]) -> bool:
    # "ollama run" and "vllm chat" are clients. Without a view of the arguments, the name must do.
    return program in programs and (not arguments or any(a in ("serve", "start", "runner") for a in arguments[1:4]))


def exporter_of(name: str, arguments: Sequence[str]) -> str | None:
    """Tell which exporter or agent a process is; None for all others."""
    program = arguments[0].rsplit("/", 1)[-1] if arguments else name
    return _EXPORTERS.get(program) or _EXPORTERS.get(name)


def _owners(root: Root, inodes: set[str], pids: Sequence[int]) -> dict[str, int]:
    """Return the process that holds each socket, as far as this user may see; the first one when several do."""
    found: dict[str, int] = {}
    for pid in sorted(pids):
        if len(found) == len(inodes):
            break
        folder = root.path(f"/proc/{pid}/fd")
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            try:
                match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(folder / name))
            except OSError:
                continue
            if match and match[1] in inodes:
                found.setdefault(match[1], pid)
    return found


def _listeners(sockets: Sequence[Socket], owners: dict[str, int], running: dict[int, Running]) -> list[Listener]:
    found: dict[Listener, None] = {}
    for each in sockets:
        pid = owners.get(each.inode)
        process = running.get(pid) if pid is not None else None
        found[
            Listener(
                port=each.port,
                address=each.address,
                pid=pid,
                process=(process.engine or process.name)[:64] if process else None,
            )
        ] = None
    return sorted(found, key=lambda listener: (listener.port, listener.address))


def _stuck(running: Sequence[Running]) -> tuple[str, ...]:
    """Name those in state D at two looks: a single one is any process that reads its disk."""
    waiting = [process for process in running if process.stuck]
    if not waiting:
        return ()
    time.sleep(_SECOND_LOOK_SECONDS)
    still: set[str] = set()
    for process in waiting:
        try:
            if psutil.Process(process.pid).status() == psutil.STATUS_DISK_SLEEP:
                still.add(process.name)
        except (psutil.Error, OSError):
            continue
    return tuple(sorted(still))
