"""Trees whose files are pipes, devices, loops and junk: each costs at most its own fact, none a section or the run."""

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.facts.snapshot import Snapshot, decode
from gpudoctor.probes.root import Root

Command = Callable[..., subprocess.CompletedProcess[str]]
Hostile = Callable[[Callable[[Path], None]], Path]

FILES = (
    "etc/os-release", "etc/hostname", "etc/ld.so.cache", "proc/meminfo", "proc/cmdline", "proc/modules", "proc/mounts",
    "proc/driver/nvidia/version", "proc/sys/kernel/osrelease", "proc/self/mountinfo", "sys/module/nvidia/version",
    "var/lib/dpkg/status", "opt/rocm/.info/version", "sys/bus/pci/devices/0000:01:00.0/class",
    "sys/bus/pci/devices/0000:01:00.0/vendor", "sys/bus/pci/devices/0000:01:00.0/device",
)


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    """Make a tree in which each file that probes read was made by this function."""

    def make(maker: Callable[[Path], None]) -> Path:
        for name in FILES:
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            maker(path)
        return tmp_path / "tree"

    return make


def record(gpudoctor: Command, root: Path) -> tuple[Snapshot, dict[str, Any]]:
    done = gpudoctor("snapshot", "--root", root, "--show")
    assert done.stdout.isascii(), "a record must be safe to print"
    report = gpudoctor("check", "--no-config", "--root", root, "-vv")
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in report.stdout)
    assert report.returncode in (1, 3)
    assert len(report.stdout) < 200_000
    return decode(done.stdout.encode(), "shown"), json.loads(done.stdout)


def junk(path: Path) -> None:
    path.write_bytes(random.Random(path.name).randbytes(100_000))


def test_pipes_hold_nobody_up(gpudoctor: Command, hostile: Hostile) -> None:
    snapshot, _ = record(gpudoctor, hostile(os.mkfifo))
    assert {run.name: run.outcome for run in snapshot.probes if run.name == "files"} == {"files": "ok"}


@pytest.mark.parametrize("maker", [junk, lambda p: p.symlink_to(p.name), lambda p: p.symlink_to("/dev/zero"),
                                   lambda p: p.mkdir()])
def test_junk_loops_and_folders(
    gpudoctor: Command, hostile: Hostile, maker: Callable[[Path], None]
) -> None:
    snapshot, _ = record(gpudoctor, hostile(maker))
    assert all("Error" not in run.outcome for run in snapshot.probes)


def test_a_name_that_is_no_text_costs_no_section(
    gpudoctor: Command, hostile: Hostile
) -> None:
    root = hostile(lambda path: path.touch())
    device = root / "sys/bus/pci/devices" / os.fsdecode(b"\xff\x1b[31m")
    device.mkdir()
    for name, text in (("class", "0x030000"), ("vendor", "0x10de"), ("device", "0x2684")):
        (device / name).write_text(text + "\n", encoding="ascii")
    _, document = record(gpudoctor, root)
    assert document["pci"]["status"] == "recorded"


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    root = Root(str(tmp_path))
    assert root.read_bytes("/pipe") is None
    assert root.read_bytes("/zero") is None
    assert Root("/").read_bytes("/dev/zero") is None
    assert root.read_bytes("/a\0b") is None
    assert Root("/").read_bytes("/proc/self/status", 100)


def version(path: Path) -> None:
    path.write_text("580.95.05\n", encoding="ascii")


def test_a_relative_root_is_the_same_tree(gpudoctor: Command, hostile: Hostile) -> None:
    root = hostile(version)
    shown = [gpudoctor("snapshot", "--root", name, "--show", cwd=root.parent) for name in (root, root.name)]
    absolute, relative = (json.loads(done.stdout) for done in shown)
    assert absolute["driver"]["loaded_version"] == "580.95.05"
    assert relative["driver"] == absolute["driver"]


def test_an_empty_root_is_refused(gpudoctor: Command) -> None:
    assert gpudoctor("check", "--root", "").returncode == 2
