"""A command starts only on a machine that is ready for it, and is then alone."""

import subprocess
from collections.abc import Callable

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
READY = ("--only", "pci", "--expect-gpus", "0")


def test_on_a_ready_machine_the_command_takes_over(gpudoctor: Command) -> None:
    done = gpudoctor("run", *READY, "--", "sh", "-c", "echo started; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "started\n", "")


def test_on_a_machine_that_is_not_ready_nothing_starts(gpudoctor: Command) -> None:
    done = gpudoctor("run", "--only", "pci", "--expect-gpus", "900", "--", "sh", "-c", "echo started")
    assert (done.returncode, done.stdout) == (1, "")
    assert "FAIL" in done.stderr
    assert done.stderr.splitlines()[-1] == "gpudoctor: not started: sh"


def test_options_after_the_dashes_are_the_command_s(gpudoctor: Command) -> None:
    done = gpudoctor("run", *READY, "--", "printf", "%s %s\\n", "--json", "--help")
    assert (done.returncode, done.stdout) == (0, "--json --help\n")


@pytest.mark.parametrize(("name", "code"), [("no-such-program-here", 127), ("/etc/passwd", 126)])
def test_what_cannot_start_ends_as_in_a_shell(gpudoctor: Command, name: str, code: int) -> None:
    done = gpudoctor("run", *READY, "--", name)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)


def test_secrets_among_its_words_are_not_repeated(gpudoctor: Command) -> None:
    done = gpudoctor("run", "--only", "pci", "--expect-gpus", "900", "--", "serve", "--api-key", "hunter2")
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [(), ("--on-unknown", "maybe", "--", "true"), ("--wait", "soon", "--", "true")])
def test_bad_usage_starts_nothing(gpudoctor: Command, arguments: tuple[str, ...]) -> None:
    done = gpudoctor("run", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
