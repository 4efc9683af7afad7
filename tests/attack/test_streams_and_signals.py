"""Closed, full and broken outputs, signals, want of resources: the exit code says it, and no child stays behind."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes.take import take_snapshot

HUNG = "h100x8-nvml-hangs"
PROGRAM = str(Path(sys.executable).with_name("gpudoctor"))


def shell(line: str, checkout: Path, name: str = HUNG) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which ``$G`` is the command and ``$S`` the file of a recorded machine."""
    told = {"G": PROGRAM, "S": str(checkout / "fixtures" / name / "snapshot.json"), "HOME": "/nonexistent"}
    return subprocess.run(
        ["bash", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
        env={**os.environ, **told}, timeout=120, check=False,
    )


@pytest.mark.parametrize("form", ["", "--json"])
@pytest.mark.parametrize(
    ("outputs", "code"),
    [(">&-", 1), (">&- 2>&-", 1), ("<&- >&- 2>&-", 1), (">/dev/full", 2), (">/dev/full 2>/dev/full", 2)],
)
def test_a_report_that_went_nowhere(checkout: Path, form: str, outputs: str, code: int) -> None:
    done = shell(f'"$G" check {form} --snapshot "$S" {outputs}', checkout)
    assert (done.returncode, "Traceback" in done.stderr, "internal error" in done.stderr) == (code, False, False)


@pytest.mark.parametrize("command", ["list", "schema report", "explain gpu.xid", "--help", "check --bogus --json"])
def test_other_commands_say_that_nothing_was_written(checkout: Path, command: str) -> None:
    done = shell(f'"$G" {command} >/dev/full', checkout)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "No space left" in done.stderr


@pytest.mark.parametrize("form", ["", "--json", "-vv"])
def test_a_reader_that_goes_away_leaves_the_verdict_its_code(checkout: Path, form: str) -> None:
    done = shell(f'"$G" check {form} --snapshot "$S" | head -c 1; echo " ${{PIPESTATUS[0]}}"', checkout)
    assert done.stdout.endswith(" 1\n")
    assert done.stderr == ""


def test_no_number_of_seconds_waits_for_ever(checkout: Path) -> None:
    assert shell('"$G" check --timeout nan', checkout).returncode == 2


def marked(mark: str) -> list[str]:
    """Return the processes whose environment carries this mark: a gpudoctor and its children."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in place.read_bytes().split(b"\0"):
                found.append(place.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_children_too(tmp_path: Path, number: signal.Signals, code: int) -> None:
    mark = f"ATTACK_MARK={os.getpid()}-{int(number)}"
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    name, value = mark.split("=")
    process = subprocess.Popen(
        [PROGRAM, "check"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, "HOME": str(tmp_path), name: value}, encoding="utf-8",
        preexec_fn=lambda: signal.signal(number, usual),
    )
    until = time.monotonic() + 30
    while len(marked(mark)) < 3 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, "")
    until = time.monotonic() + 30
    while (left := marked(mark)) and time.monotonic() < until:
        time.sleep(0.02)
    assert left == []


@pytest.mark.parametrize(
    ("name", "value"),
    [(resource.RLIMIT_NOFILE, 24), (resource.RLIMIT_NOFILE, 12), (resource.RLIMIT_AS, 256 * 2**20)],
)
def test_starved_of_a_resource_it_is_never_green(name: int, value: int) -> None:
    done = subprocess.run(
        [PROGRAM, "check", "--json", "--no-config", "--expect-gpus", "1"], stdin=subprocess.DEVNULL,
        capture_output=True, encoding="utf-8", check=False, timeout=120,
        preexec_fn=lambda: resource.setrlimit(name, (value, value)),
    )
    assert done.returncode in (1, 2, 3)
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["schema"] in ("gpudoctor.report/1", "gpudoctor.error/1")


def test_a_child_that_cannot_be_started_costs_its_own_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("gpudoctor.probes.runner.subprocess.Popen", refuse)
    snapshot = take_snapshot()
    assert isinstance(snapshot.gpus, Unavailable)
    assert "Resource temporarily unavailable" in snapshot.gpus.reason
    assert not snapshot.gpus.harmless
