"""``check --python`` through the command line."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_check_takes_environments(gpudoctor: Command, tmp_path: Path, make: Any) -> None:
    make.torch(make.venv(tmp_path / "env"))
    done = gpudoctor("check", "--python", tmp_path / "env", "--python", "gone", "--only", "torch.*", "--json")
    assert done.returncode in (0, 1, 3)
    report = json.loads(done.stdout)
    assert {result["id"] for result in report["results"]} >= {"torch.cpu-only"}
    assert [r for r in report["results"] if r["status"] == "unknown" and "crashed" in r["message"]] == []


def test_a_recorded_machine_has_its_own_environments(gpudoctor: Command, tmp_path: Path) -> None:
    done = gpudoctor("check", "--python", tmp_path, "--snapshot", tmp_path / "x.json", "--json")
    assert done.returncode == 2
    assert "--python reads this machine" in json.loads(done.stdout)["error"]["message"]
