"""The rig itself: what a test starts does not outlive it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import rig_images
from rig import PYTHON, Engine, engine

pytestmark = pytest.mark.tier("docker")

ABANDONED = """
import sys, time
sys.path[:] = {path!r}
import rig, rig_images
with rig.engine() as running:
    rig_images.load(running.client(), [rig_images.EMPTY])
    running.client().containers.run(rig_images.EMPTY, ["/wait"], network_mode="none", detach=True)
    print(running.folder, flush=True)
    time.sleep(600)
"""


def soon(true: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def processes_of(folder: str) -> list[str]:
    found = subprocess.run(["pgrep", "-fa", folder], capture_output=True, text=True, check=False).stdout
    return [line for line in found.splitlines() if str(os.getpid()) != line.split()[0]]


def cgroups_of(folder: str) -> list[Path]:
    return [path for path in Path("/sys/fs/cgroup").glob(f"*/{Path(folder).name}") if path.exists()]


def gone(folder: str) -> bool:
    return not Path(folder).exists() and not processes_of(folder) and not cgroups_of(folder)


def test_a_container_runs_without_a_registry(bare_engine: Engine) -> None:
    said = bare_engine.client().containers.run(rig_images.GLIBC, ["id", "-u"], network_mode="none", remove=True)
    assert said == b"0\n"


def test_an_engine_leaves_nothing_behind_after_a_failing_test() -> None:
    folders: list[str] = []

    def failing() -> None:
        with engine() as running:
            folders.append(str(running.folder))
            rig_images.load(running.client(), [rig_images.EMPTY])
            running.client().containers.run(rig_images.EMPTY, ["/wait"], network_mode="none", detach=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert gone(folders[0])


def test_nor_when_the_tests_themselves_are_killed() -> None:
    with subprocess.Popen(
        [PYTHON, "-c", ABANDONED.format(path=sys.path)], stdout=subprocess.PIPE, text=True
    ) as abandoned:
        assert abandoned.stdout is not None
        folder = abandoned.stdout.readline().strip()
        assert processes_of(folder)
        abandoned.send_signal(signal.SIGKILL)
    assert soon(lambda: gone(folder)), (processes_of(folder), cgroups_of(folder))
