"""Runs one engine and, when its standard input ends, leaves nothing of it behind. Started by ``rig``.

Its parent may die in any way: the pipe then ends. Mounts vanish with this process's mount namespace, processes
are found by the cgroups that the engine and its containers live in.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

PROCS = "cgroup.procs"
#: Seconds in which an engine must have ended after it was asked to.
PATIENCE = 20


def hierarchies() -> list[Path]:
    """Return the mounted cgroup hierarchies: one per v1 controller, or the v2 one."""
    lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(line[1]) for line in lines if line[2].startswith("cgroup")]


def processes(name: str) -> set[int]:
    """Return every process in a cgroup of this name or below it, in any hierarchy."""
    found: set[int] = set()
    for folder in groups(name):
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in (folder / PROCS).read_text().split()}
    return found - {os.getpid()}


def groups(name: str) -> list[Path]:
    """Return the groups of this name and below it, the deepest first; others may vanish meanwhile."""
    return [Path(place) for each in hierarchies() for place, _, _ in os.walk(each / name, topdown=False)]


def enter(name: str) -> None:
    for hierarchy in hierarchies():
        with contextlib.suppress(OSError):
            (hierarchy / name).mkdir(parents=True, exist_ok=True)
            (hierarchy / name / PROCS).write_text("0")


def leave(name: str) -> None:
    for hierarchy in hierarchies():
        with contextlib.suppress(OSError):
            (hierarchy / PROCS).write_text(str(os.getpid()))
    for _ in range(100):
        alive = processes(name)
        for pid in alive:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not alive:
            break
        time.sleep(0.05)
    # A group stays busy for a moment after its last process.
    for _ in range(100):
        left = groups(name)
        for folder in left:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if not left:
            break
        time.sleep(0.05)


def unmount(folder: str) -> None:
    lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    for place in reversed([line[1] for line in lines if line[1].startswith(folder + "/")]):
        subprocess.run(["umount", "-l", place], stderr=subprocess.DEVNULL, check=False)


def start(told: dict[str, Any], log: IO[bytes]) -> subprocess.Popen[bytes]:
    engine = subprocess.Popen(
        told["command"], env=told["environment"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    # Renamed into its place: nobody reads half a number.
    Path(told["folder"], "pid.new").write_text(str(engine.pid))
    Path(told["folder"], "pid.new").replace(Path(told["folder"], "pid"))
    return engine


def end(engine: subprocess.Popen[bytes], name: str) -> None:
    """End an engine, one that does not heed the request with all that it started for itself."""
    engine.terminate()
    try:
        engine.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        for pid in processes(f"{name}/engine"):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        engine.wait()


def main() -> None:
    told = json.loads(sys.argv[1])
    folder, name = told["folder"], told["cgroup"]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Another engine's containerd answers at a place below /run.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    enter(f"{name}/engine")
    with Path(folder, "engine.log").open("wb") as log:
        engine = start(told, log)
        # Lines are asked for one by one: "restart" starts the engine again, the end of input ends it.
        for line in sys.stdin:
            if line.strip() == "restart":
                end(engine, name)
                engine = start(told, log)
        leave(name)
        engine.wait()
    unmount(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
