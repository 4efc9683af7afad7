"""Where -o points: nothing is taken from the machine, no link is cut, and the file is whole."""

import os
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gpudoctor.facts.snapshot import write_atomically

Command = Callable[..., subprocess.CompletedProcess[str]]


def device(path: Path, minor: int) -> Path:
    """Make a node like /dev/null (3) or /dev/full (7): the machine's own are not to be risked."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        with path.open("wb"):
            return path
    except OSError:
        pytest.skip("this user may make no device nodes here")


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    null, full = device(tmp_path / "null", 3), device(tmp_path / "full", 7)
    write_atomically(null, b"x")
    with pytest.raises(OSError, match="No space left"):
        write_atomically(full, b"x")
    assert stat.S_ISCHR(null.lstat().st_mode)
    assert stat.S_ISCHR(full.lstat().st_mode)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "null"]


def test_a_pipe_gets_the_report_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"report")
    reader.join(30)
    assert (read, stat.S_ISFIFO(pipe.lstat().st_mode)) == ([b"report"], True)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, there: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if there:
        target.write_text("old")
        target.chmod(0o640)
    link.symlink_to("target")
    write_atomically(link, b"new")
    assert (link.is_symlink(), target.read_text()) == (True, "new")
    assert not there or target.stat().st_mode & 0o777 == 0o640


def test_a_quiet_screen_leaves_the_file_whole(gpudoctor: Command, checkout: Path, tmp_path: Path) -> None:
    snapshot = checkout / "fixtures" / "no-gpu" / "snapshot.json"
    done = gpudoctor("check", "--snapshot", snapshot, "-qq", "-o", tmp_path / "report.txt")
    text = (tmp_path / "report.txt").read_text()
    assert (done.returncode, done.stdout) == (1, "")
    assert text.startswith("gpudoctor ")
    assert "gpudoctor explain pci.no-gpu" in text
