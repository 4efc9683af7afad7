"""Every pasted trouble of fixtures/evidence ends as its story says, through the command line.

A folder holds the files as they were pasted and ``expected.json``: the exit code and every finding that is neither
pass nor skip. ``pytest --update-golden`` rewrites it: read the diff.
"""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
FOLDER = Path(__file__).parents[2] / "fixtures" / "evidence"
PASTES = sorted(path for path in FOLDER.iterdir() if path.is_dir())
#: Ends of life are judged as of the day of the recorded machines.
DAY = {"SOURCE_DATE_EPOCH": "1795132800"}


@pytest.mark.parametrize("paste", PASTES, ids=lambda p: p.name)
def test_paste_ends_as_its_story_says(gpudoctor: Command, paste: Path, request: pytest.FixtureRequest) -> None:
    files = sorted(path for path in paste.iterdir() if path.name != "expected.json")
    done = gpudoctor("diagnose", *files, "--json", **DAY)
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert done.returncode == report["run"]["exit_code"]
    texts = [r["message"] for r in report["results"]]
    texts += [t for r in report["results"] for s in r["fix"] for t in (s["text"], s["command"] or "")]
    assert [t for t in texts if re.search(r"(?<![\w*])\?(?!\w)", t)] == [], "a template lacks a value"
    seen = {
        "exit_code": report["run"]["exit_code"],
        "findings": [
            {key: r[key] for key in ("id", "status", "subject", "message", "caused_by")}
            for r in report["results"]
            if r["status"] not in ("pass", "skip")
        ],
    }
    golden = paste / "expected.json"
    if request.config.getoption("--update-golden"):
        golden.write_text(json.dumps(seen, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert seen == json.loads(golden.read_text(encoding="utf-8"))


@pytest.mark.parametrize("paste", [p for p in PASTES if p.name.startswith("healthy-")], ids=lambda p: p.name)
def test_a_healthy_paste_is_accused_of_nothing(paste: Path) -> None:
    findings = json.loads((paste / "expected.json").read_text(encoding="utf-8"))["findings"]
    assert [f for f in findings if f["status"] in ("fail", "unknown")] == []
