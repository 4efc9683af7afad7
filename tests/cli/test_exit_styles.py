"""The contract's exit codes in the manners of others, and facts that several commands share."""

import json
import os
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpudoctor.cli.exits import exit_code, exit_code_of_failure, format_of, style_for
from gpudoctor.cli.failure import Failure
from gpudoctor.cli.repeat import seconds_of, until

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("style", "on_unknown", "expected"),
    [
        # pass, warn, fail, unknown
        ("default", None, (0, 0, 1, 3)),
        ("docker", None, (0, 0, 1, 1)),
        ("docker", "pass", (0, 0, 1, 0)),
        ("nagios", None, (0, 1, 2, 3)),
        ("npd", None, (0, 0, 1, 2)),
        ("slurm-prolog", None, (0, 0, 1, 0)),
        ("slurm-prolog", "fail", (0, 0, 1, 1)),
    ],
)
def test_every_style_keeps_its_reader_s_contract(
    style: str, on_unknown: str | None, expected: tuple[int, ...]
) -> None:
    chosen = style_for(style, on_unknown, "console")
    ours = ((0, "pass"), (0, "warn"), (1, "fail"), (3, "unknown"))
    assert tuple(exit_code(code, verdict, *chosen) for code, verdict in ours) == expected


@pytest.mark.parametrize(("form", "code"), [("nagios", 3), ("npd", 2)])
def test_a_monitor_does_not_hear_that_all_is_well_with_what_is_not_there(
    gpudoctor: Command, checkout: Path, form: str, code: int
) -> None:
    record = checkout / "fixtures/rtx4090x4-without-docker/snapshot.json"
    done = gpudoctor("check", "--snapshot", record, "--only", "container.clock", "-f", form)
    assert (done.returncode, "nothing was judged" in done.stdout) == (code, True)


def test_a_node_without_docker_is_told_why_its_containers_are_unknown(gpudoctor: Command, checkout: Path) -> None:
    record = checkout / "fixtures/rtx4090x4-without-docker/snapshot.json"
    done = gpudoctor("check", "--snapshot", record, "--only", "docker", "--only", "container", "-f", "npd")
    assert done.returncode == 2
    assert done.stdout.startswith("nothing was judged: no Docker")
    assert len(done.stdout.strip()) <= 80


def test_a_format_for_monitors_brings_their_exit_codes() -> None:
    assert [style_for(None, None, name)[0] for name in ("nagios", "npd", "json")] == ["nagios", "npd", "default"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("check --json", 2), ("check -f nagios", 3), ("check --format=npd", 2), ("check --exit-style docker", 1),
        ("check --exit-style=slurm-prolog", 0), ("check --exit-style slurm-prolog --on-unknown fail", 1),
        ("check -- --exit-style docker", 2),
    ],
)  # fmt: skip
def test_without_a_report_the_style_decides_too(arguments: str, code: int) -> None:
    assert exit_code_of_failure(arguments.split()) == code


@pytest.mark.parametrize(
    ("arguments", "name"),
    [("-f json", "json"), ("-fjson", "json"), ("--format=jsonl", "jsonl"), ("--json", "json"), ("", "console"),
     ("-- --json", "console")],
)  # fmt: skip
def test_the_format_is_known_before_the_command_line_is_parsed(arguments: str, name: str) -> None:
    assert format_of(["check", *arguments.split()]) == name


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("30s", 30), ("5m", 300), ("1.5h", 5400), ("2 min", 120)])
def test_time_spans_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_of(text, "--wait") == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "0", "nan", "inf", "1e9", "9d", "5 m 3", "٣m"])
def test_what_is_no_time_span_is_refused(text: str) -> None:
    with pytest.raises(Failure, match="no time span"):
        seconds_of(text, "--wait")


def test_waiting_ends_with_readiness_and_says_each_reason_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    states = iter(["no driver", "no driver", "no GPU", "", "never"])
    assert until(lambda: next(states), lambda state: not state, str, 60) == ""
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines()] == ["no driver", "no GPU"]


def test_waiting_ends_when_the_time_is_over(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "sys/bus/pci/devices").mkdir(parents=True)
    done = gpudoctor("check", "--root", tmp_path, "--only", "pci", "--wait", "1s", "--json")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (1, "fail")
    assert done.stderr.startswith("gpudoctor: waiting")


def test_watching_writes_report_after_report_until_it_is_stopped(tmp_path: Path, checkout: Path) -> None:
    import sys

    (tmp_path / "sys/bus/pci/devices").mkdir(parents=True)
    file = tmp_path / "gpudoctor.prom"
    command = [str(Path(sys.executable).with_name("gpudoctor")), "check", "--root", str(tmp_path), "--only", "pci"]
    with subprocess.Popen(
        [*command, "--watch", "1s", "-f", "jsonl", "-o", f"prometheus={file}"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        runs = 0
        for line in process.stdout:
            runs += "verdict" in json.loads(line)
            if runs == 2:
                break
        process.terminate()
        assert process.wait(30) == 143
    assert "gpudoctor_exit_code 1.0" in file.read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--wait", "5m", "--watch", "3s"), "--watch never"),
        (("--watch", "3s", "--json"), "one document"),
        (("--from-cache", "60s", "--deep"), "what was read before"),
        (("--exit-style", "slurm"), "slurm-prolog"),
        (("--on-unknown", "pass"), "leave it out"),
        (("--exit-style", "docker", "--on-unknown", "maybe"), "none of pass, fail"),
    ],
)
def test_options_that_fight_are_refused(gpudoctor: Command, options: tuple[str, ...], words: str) -> None:
    done = gpudoctor("check", *options)
    assert done.returncode in (1, 2)
    assert (words in done.stderr, done.stderr.count("\n")) == (True, 1)


def started(done: subprocess.CompletedProcess[str]) -> str:
    return str(json.loads(done.stdout)["run"]["started"])


def test_a_second_command_takes_the_first_one_s_facts_and_says_how_old_they_are(
    gpudoctor: Command, tmp_path: Path
) -> None:
    (tmp_path / "root/sys/bus/pci/devices").mkdir(parents=True)
    own = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    line = ("check", "--root", tmp_path / "root", "--from-cache", "60s", "--json", "--only")
    first = started(gpudoctor(*line, "pci", **own))
    time.sleep(1.1)
    assert started(gpudoctor(*line, "host", **own)) == first


@pytest.mark.skipif(os.geteuid() == 0, reason="root's cache has a fixed place")
def test_a_folder_that_others_can_write_is_no_cache(gpudoctor: Command, tmp_path: Path) -> None:
    folder = tmp_path / "gpudoctor"
    folder.mkdir()
    folder.chmod(0o777)
    gpudoctor("check", "--only", "pci", "--from-cache", "60s", XDG_RUNTIME_DIR=str(tmp_path))
    assert list(folder.iterdir()) == []


def test_kubernetes_reads_why_in_the_termination_log(gpudoctor: Command, checkout: Path, tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.write_text("old")
    log.chmod(0o666)
    inode = log.stat().st_ino
    record = checkout / "fixtures/no-gpu/snapshot.json"
    gpudoctor("check", "--snapshot", record, "--termination-log", log, "-qq")
    text = log.read_text()
    assert text.startswith("gpudoctor: fail\npci.no-gpu: ")
    assert (log.stat().st_ino, stat.S_IMODE(log.stat().st_mode)) == (inode, 0o666)
    gpudoctor("check", "--snapshot", "/nowhere", "--termination-log", log)
    assert "/nowhere: No such file" in log.read_text()
