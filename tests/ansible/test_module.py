"""The module ``gpudoctor_info``: what each end of ``gpudoctor`` makes of a task."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_cli import Ansible, module
from standin import machine, stand_in

pytestmark = pytest.mark.tier("ansible")

Ask = Callable[..., dict[str, Any]]
GPUDOCTOR = str(Path(sys.executable).with_name("gpudoctor"))


@pytest.fixture
def ask(ansible: Ansible, collection: Path, tmp_path: Path) -> Ask:
    """Run the module with a script in the place of gpudoctor."""
    path = collection / "ansible_collections/gpudoctor/gpudoctor/plugins/modules/gpudoctor_info.py"

    def run(script: str | None = None, **options: Any) -> dict[str, Any]:
        if script is not None:
            program = tmp_path / "gpudoctor"
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
            options["executable"] = str(program)
        return module(ansible, path, options)

    return run


def report(code: int, *results: tuple[str, str, str, str]) -> str:
    """Return a script that prints a report with these results and ends with that code."""
    document = {
        "schema": "gpudoctor.report/1",
        "run": {"host": "gpu01", "exit_code": code},
        "verdict": {0: "pass", 1: "fail", 3: "unknown"}[code],
        "results": [
            {"id": id_, "status": status, "subject": subject, "message": message, "caused_by": None,
             "accepted": None, "fix": [{"text": "Mend it.", "command": "mend"}]}
            for id_, status, subject, message in results
        ],
    }  # fmt: skip
    return f"printf %s {shlex.quote(json.dumps(document))}; exit {code}"


def test_a_host_that_is_ready(ask: Ask) -> None:
    said = ask(report(0))
    assert (said["ready"], said["changed"], said["rc"], said["verdict"]) == (True, False, 0, "pass")


def test_a_failure_names_what_blocks_and_tells_equal_gpus_once(ask: Ask) -> None:
    rows = "rows wait"
    said = ask(report(1, ("gpu.a", "fail", "gpu:0", rows), ("gpu.a", "fail", "gpu:1", rows),
                      ("driver.b", "warn", "host", "old")))  # fmt: skip
    assert said["failed"]
    assert said["msg"] == "gpu01 is not ready: gpu.a gpu:0, gpu:1: rows wait"
    assert said["findings"][0]["fix"] == ["mend"]


def test_a_failure_is_one_readable_line_however_much_is_wrong(ask: Ask) -> None:
    said = ask(report(1, *((f"gpu.{n}", "fail", "host", "word \n" * 200) for n in range(9))))
    assert "\n" not in said["msg"]
    assert said["msg"].endswith("; and 4 more")
    assert len(said["msg"]) < 2000


def test_no_verdict_fails_unless_it_may_pass(ask: Ask) -> None:
    script = report(3, ("driver.unreachable", "unknown", "host", "the probe hung"))
    assert ask(script)["msg"] == "gpu01 could not be judged: driver.unreachable: the probe hung"
    passed = ask(script, on_unknown="pass")
    assert passed["ready"]
    assert (passed["rc"], passed["verdict"]) == (3, "unknown")


def test_an_error_is_told_in_the_words_of_its_document(ask: Ask) -> None:
    said = ask(executable=GPUDOCTOR, wait="soon")
    assert said["failed"]
    assert said["msg"] == "gpudoctor made no report: --wait: 'soon' is no time span: for example 30s, 5m or 1h"


def test_an_unknown_engine_is_a_failure_with_a_hint(ask: Ask) -> None:
    said = ask(executable=GPUDOCTOR, **{"for": ["-x y"]})
    assert said["failed"]
    assert "--for" in said["msg"]


def test_a_missing_gpudoctor_says_how_to_get_it(ask: Ask) -> None:
    said = ask(executable="gpudoctor-that-is-not-there")
    assert said["failed"]
    assert not said["ready"]
    assert "gpudoctor.gpudoctor.preflight" in said["msg"]


def test_a_file_that_is_no_program(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    assert "is not on this host" in ask(executable=str(tmp_path / "text"))["msg"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 0", "exit code 0 and made no report"),
        ("echo hello; exit 0", "made no report"),
        ("echo '[]'; exit 0", "made no report"),
        ('echo \'{"schema": "gpudoctor.fit/1"}\'', "made no report"),
        ('echo \'{"schema": "gpudoctor.report/1"}\'', "does not bear out"),
        (report(1, ("a.b", "fail", "host", "x")).replace("exit 1", "exit 0"), "does not bear out"),
        ("echo ImportError: no typer >&2; exit 1", "ImportError: no typer"),
        ("kill -KILL $$", "killed (SIGKILL)"),
        (report(0).replace("exit 0", "exit 70"), "exit code 70"),
    ],
)
def test_what_is_no_report_is_never_green(ask: Ask, script: str, words: str) -> None:
    said = ask(script)
    assert said["failed"]
    assert words in said["msg"]


def test_every_option_reaches_the_command(ask: Ask, tmp_path: Path) -> None:
    given = tmp_path / "given"
    ask(
        f"printf '%s\\n' \"$@\" > {given}; {report(0)}", stage="pre-install", model="a b", gpus=[0, 1], expect_gpus=2,
        only=["gpu"], skip=["-x"], require=["driver.too-old"], fail_on="warn", timeout=9, wait="5s", python=["/p"],
        compose=["/c.yml"], config=["/t.toml"], ports=[1, 2], root="/r", **{"for": ["ollama", "vllm==0.33.0"]},
    )  # fmt: skip
    assert given.read_text().splitlines() == [
        "check", "--json", "--color=never", "--stage=pre-install", "--model=a b", "--expect-gpus=2", "--fail-on=warn",
        "--timeout=9", "--wait=5s", "--root=/r", "--gpus=0,1", "--for=ollama", "--for=vllm==0.33.0", "--only=gpu",
        "--skip=-x", "--require=driver.too-old", "--python=/p", "--compose=/c.yml", "--config=/t.toml", "--port=1",
        "--port=2",
    ]  # fmt: skip


def test_a_real_sick_machine(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ansible: Ansible) -> None:
    for name, value in stand_in(tmp_path, machine("8x-h100-hgx", "gpu.5.rows.failed = 1")).items():
        monkeypatch.setitem(ansible.environment, name, value)
    said = ask(executable=GPUDOCTOR, only=["gpu", "driver"], timeout=20)
    assert said["msg"].partition(": ")[2].startswith("gpu.row-remap-failed gpu:5: ")
    assert ask(executable=GPUDOCTOR, only=["gpu", "driver"], timeout=20, fail_on="never")["ready"]


def test_check_mode_judges_all_the_same(ask: Ask) -> None:
    assert ask(report(1, ("a.b", "fail", "host", "x")), _ansible_check_mode=True)["failed"]
