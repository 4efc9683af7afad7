"""Variables that others set: a clear line or no effect."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("epoch", ["99999999999999999999", "\u00b2", "tomorrow", "-1e9"])
def test_an_absurd_day_is_one_line(gpudoctor: Command, checkout: Path, epoch: str) -> None:
    snapshot = checkout / "fixtures" / "h100x8-healthy" / "snapshot.json"
    done = gpudoctor("check", "--snapshot", snapshot, SOURCE_DATE_EPOCH=epoch)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "SOURCE_DATE_EPOCH" in done.stderr


def test_hostile_variables_change_no_verdict(gpudoctor: Command, checkout: Path) -> None:
    snapshot = checkout / "fixtures" / "h100x8-healthy" / "snapshot.json"
    hostile = {
        "LD_LIBRARY_PATH": "/a\x1b[31m:::relative:/dev", "CUDA_VISIBLE_DEVICES": "\x1b]0;x\x07,-1", "COLUMNS": "-5",
        "TERM": "\x1b", "XDG_CONFIG_HOME": "/dev/null", "PYTHONPATH": "/nonexistent", "NO_COLOR": "",
        "OLLAMA_MODELS": "/dev/zero", "HF_HOME": "/proc/kcore", "LC_ALL": "xx_YY.nonsense",
    }
    done = gpudoctor("check", "--snapshot", snapshot, **hostile)
    assert (done.returncode, done.stderr) == (0, "")
    live = gpudoctor("check", "--no-config", "-vv", **hostile)
    assert "Traceback" not in live.stderr
    assert "\x1b]" not in live.stdout
    assert "\x1b[31m" not in live.stdout


def test_the_header_breaks_between_its_parts_only(gpudoctor: Command, checkout: Path) -> None:
    snapshot = checkout / "fixtures" / "h100x5-one-not-linked" / "snapshot.json"
    first, second = gpudoctor("check", "--snapshot", snapshot).stdout.splitlines()[:2]
    assert second == "  1 x H100 PCIe (79.6 GiB)  driver 580.95.05  CUDA 13.0"
    assert len(first) <= 100
