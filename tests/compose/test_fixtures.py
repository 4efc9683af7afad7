"""Every Compose file of fixtures/compose is judged as its table says, and Compose itself reads it alike.

``expected.json`` holds the machine, the exit code and every finding that is no pass and no skip, as
``STATUS id subject :line``. ``pytest --update-golden`` rewrites it: read the diff.
"""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
FOLDER = Path(__file__).parents[2] / "fixtures" / "compose"
TABLE: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


def lint(gpudoctor: Command, name: str) -> dict[str, Any]:
    row = TABLE[name]
    done = gpudoctor("compose", "lint", name, "--hardware", row["hardware"], "--json", cwd=FOLDER, **row["environment"])
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == report["run"]["exit_code"]
    return report


def test_the_table_and_the_folder_agree() -> None:
    assert sorted(TABLE) == sorted(path.name for path in FOLDER.glob("*.yml"))
    assert len(TABLE) >= 40


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_file_is_judged_as_the_table_says(gpudoctor: Command, name: str, request: pytest.FixtureRequest) -> None:
    report = lint(gpudoctor, name)
    texts = [r["message"] for r in report["results"]]
    texts += [t for r in report["results"] for s in r["fix"] for t in (s["text"], s["command"] or "")]
    assert [t for t in texts if re.search(r"(?<![\w&])\?(?!\w)", t)] == [], "a template lacks a value"
    findings = [
        f"{r['status']} {r['id']} {r['subject']}" + (f" :{r['location']['line']}" if r["location"] else "")
        for r in report["results"]
        if r["status"] not in ("pass", "skip")
    ]
    if request.config.getoption("--update-golden"):
        TABLE[name] |= {"exit_code": report["run"]["exit_code"], "findings": findings}
        text = json.dumps(TABLE, indent=1, ensure_ascii=False) + "\n"
        (FOLDER / "expected.json").write_text(text, encoding="utf-8")
    assert (report["run"]["exit_code"], findings) == (TABLE[name]["exit_code"], TABLE[name]["findings"])


@pytest.mark.parametrize("name", sorted(name for name in TABLE if "healthy" in name or "peace" in name))
def test_a_healthy_file_is_accused_of_nothing(name: str) -> None:
    assert [f for f in TABLE[name]["findings"] if f.split()[0] in ("fail", "warn", "unknown")] == []


def test_every_finding_names_file_line_service_and_a_way_out(gpudoctor: Command) -> None:
    for name in ("main-brain-runtime-and-cuda-visible-devices.yml", "secrets-in-the-file.yml", "whole-house.yml"):
        for result in lint(gpudoctor, name)["results"]:
            if result["status"] in ("fail", "warn"):
                assert result["location"]["file"] == name
                assert result["location"]["line"] > 0
                assert result["subject"].startswith(("service:", "file:"))
                assert result["fix"]


def test_no_secret_is_shown_in_any_format(gpudoctor: Command) -> None:
    for form in ("console", "json", "sarif", "markdown", "html", "junit"):
        arguments = ("compose", "lint", "secrets-in-the-file.yml", "--hardware", "1x L40S", "-f", form)
        said = gpudoctor(*arguments, *(["-vv"] if form == "console" else []), cwd=FOLDER).stdout
        assert said
        for secret in ("hunter2", "correct-horse", "thisIsNoToken", "sk-1234", "nvapi-AAAA"):
            assert secret not in said, (form, secret)
