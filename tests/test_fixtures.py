"""Every recorded machine ends as its story says, through the command line.

``expected.json`` holds the arguments, the exit code and every finding that is no pass and no skip; those are left
out so that a new check does not rewrite old machines. ``pytest --update-golden`` rewrites it: read the diff.
"""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.checking.plugins import load_checks

Command = Callable[..., subprocess.CompletedProcess[str]]
FOLDER = Path(__file__).parents[1] / "fixtures"
MACHINES = sorted(path.parent for path in FOLDER.glob("*/snapshot.json"))
#: The day on which the machines were recorded: ends of life are judged as of then.
DAY = {"SOURCE_DATE_EPOCH": "1795132800"}


def replay(gpudoctor: Command, machine: Path, arguments: list[str]) -> dict[str, Any]:
    done = gpudoctor("check", "--snapshot", machine / "snapshot.json", *arguments, "--json", **DAY)
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == report["run"]["exit_code"]
    return report


@pytest.mark.parametrize("machine", MACHINES, ids=lambda p: p.name)
def test_recorded_machine_ends_as_its_story_says(
    gpudoctor: Command, machine: Path, request: pytest.FixtureRequest
) -> None:
    golden = machine / "expected.json"
    expected = json.loads(golden.read_text(encoding="utf-8"))
    report = replay(gpudoctor, machine, expected["arguments"])
    texts = [r["message"] for r in report["results"]]
    texts += [t for r in report["results"] for s in r["fix"] for t in (s["text"], s["command"] or "")]
    assert [t for t in texts if re.search(r"(?<!\w)\?(?!\w)", t)] == [], "a template lacks a value"
    seen = {
        "arguments": expected["arguments"],
        "exit_code": report["run"]["exit_code"],
        "findings": [
            {key: r[key] for key in ("id", "status", "subject", "message", "caused_by")}
            for r in report["results"]
            if r["status"] not in ("pass", "skip")
        ],
    }
    if request.config.getoption("--update-golden"):
        golden.write_text(json.dumps(seen, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert seen == expected


def test_every_check_has_a_machine_with_its_problem() -> None:
    seen = {
        finding["id"]
        for golden in (*(machine / "expected.json" for machine in MACHINES), *FOLDER.glob("evidence/*/expected.json"))
        for finding in json.loads(golden.read_text(encoding="utf-8"))["findings"]
        # That something could not be read is a problem of its own, and never more than unknown.
        if finding["status"] in ("fail", "warn", "info") or finding["id"].endswith("-unread")
    }
    table = json.loads((FOLDER / "compose" / "expected.json").read_text(encoding="utf-8"))
    composed = [finding.split() for row in table.values() for finding in row["findings"]]
    seen |= {words[1] for words in composed if words[0] in ("fail", "warn", "info")}
    built_in = {c.id for c in load_checks().checks if c.package == "gpudoctor.checks"}
    assert built_in - seen == set()


@pytest.mark.parametrize("name", ["h100x8-healthy", "gb10-healthy", "gh200-healthy", "mi300x8-healthy"])
def test_a_healthy_machine_is_accused_of_nothing(name: str) -> None:
    findings = json.loads((FOLDER / name / "expected.json").read_text(encoding="utf-8"))["findings"]
    assert [f for f in findings if f["status"] in ("fail", "warn", "unknown")] == []


def test_a_healthy_server_needs_about_six_lines(gpudoctor: Command) -> None:
    machine = FOLDER / "h100x8-healthy"
    arguments = json.loads((machine / "expected.json").read_text(encoding="utf-8"))["arguments"]
    done = gpudoctor("check", "--snapshot", machine / "snapshot.json", *arguments, **DAY)
    assert len([line for line in done.stdout.splitlines() if line.strip()]) <= 12
    assert done.stdout.splitlines()[-1].endswith("Ready.")


def test_no_gpu_is_one_clear_finding_and_no_storm(gpudoctor: Command) -> None:
    report = replay(gpudoctor, FOLDER / "no-gpu", [])
    problems = [r for r in report["results"] if r["status"] in ("fail", "warn", "unknown")]
    assert [r["id"] for r in problems if r["caused_by"] is None and r["status"] == "fail"] == ["pci.no-gpu"]
    assert len(problems) == 1


@pytest.mark.parametrize("machine", MACHINES, ids=lambda p: p.name)
def test_the_screen_names_the_cause_first(gpudoctor: Command, machine: Path) -> None:
    expected = json.loads((machine / "expected.json").read_text(encoding="utf-8"))
    done = gpudoctor("check", "--snapshot", machine / "snapshot.json", *expected["arguments"], **DAY)
    heads = [line.split()[1] for line in done.stdout.splitlines() if line[:8].strip() in ("FAIL", "WARN", "UNKNOWN")]
    roots = [f["id"] for f in expected["findings"] if f["status"] in ("fail", "warn", "unknown") and not f["caused_by"]]
    assert heads[:1] == roots[:1]
    assert all(line.isascii() for line in done.stdout.splitlines())
