"""``gpudoctor integrate``: what it hands out is what lies in ``integrations/``, and nothing else is overwritten."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpudoctor.cli.integrations import INTEGRATIONS, PROGRAM

Command = Callable[..., subprocess.CompletedProcess[str]]
SCRIPTS = ("slurm", "slurm-prolog", "healthcheck", "docker-plugin")


def test_without_a_name_it_lists_what_there_is(gpudoctor: Command) -> None:
    lines = gpudoctor("integrate").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(INTEGRATIONS)


def test_every_file_has_an_owner(checkout: Path) -> None:
    folder = checkout / "integrations"
    owned = {file.source for one in INTEGRATIONS.values() for file in one.files}
    here = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    # The Ansible collection is installed by Ansible's own tool.
    assert {name for name in here if not name.startswith(("ansible/", "__"))} == owned


@pytest.mark.parametrize("name", [name for name, one in INTEGRATIONS.items() if len(one.files) == 1])
def test_one_file_is_printed_as_it_is(gpudoctor: Command, checkout: Path, name: str) -> None:
    [file] = INTEGRATIONS[name].files
    done = gpudoctor("integrate", name, "--print", "--program", PROGRAM)
    assert done.stdout == (checkout / "integrations" / file.source).read_text()
    assert file.place in done.stderr


@pytest.mark.parametrize("name", [name for name, one in INTEGRATIONS.items() if len(one.files) > 1])
def test_several_files_each_say_where_they_belong(gpudoctor: Command, name: str) -> None:
    printed = gpudoctor("integrate", name, "--print").stdout
    for file in INTEGRATIONS[name].files:
        assert f"# ==> {file.source.partition('/')[2]} -> {file.place}" in printed


def test_one_file_of_several_can_be_had(gpudoctor: Command) -> None:
    assert gpudoctor("integrate", "kubernetes/daemonset.yaml", "--print").stdout.count("kind: DaemonSet") == 1


@pytest.mark.tier("shellcheck")
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_plain_sh(gpudoctor: Command, tmp_path: Path, name: str) -> None:
    assert gpudoctor("integrate", name, "-o", tmp_path).returncode == 0
    [script] = tmp_path.iterdir()
    assert script.stat().st_mode & 0o777 == 0o755
    assert script.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["shellcheck", "--shell=sh", str(script)], check=True, timeout=60)


def test_files_name_the_gpudoctor_that_wrote_them(gpudoctor: Command) -> None:
    from sys import executable

    line = f"GPUDOCTOR={Path(executable).with_name('gpudoctor')}"
    assert line in gpudoctor("integrate", "slurm", "--print").stdout.splitlines()


def test_a_folder_gets_all_files(gpudoctor: Command, tmp_path: Path) -> None:
    assert gpudoctor("integrate", "systemd", "-o", tmp_path / "new").returncode == 0
    written = {str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert written == {file.source.partition("/")[2] for file in INTEGRATIONS["systemd"].files}


def test_a_second_time_changes_nothing(gpudoctor: Command, tmp_path: Path) -> None:
    gpudoctor("integrate", "slurm", "-o", tmp_path)
    before = (tmp_path / "gpudoctor-slurm").stat().st_mtime_ns
    assert gpudoctor("integrate", "slurm", "-o", tmp_path).returncode == 0
    assert (tmp_path / "gpudoctor-slurm").stat().st_mtime_ns == before


def test_somebody_elses_file_stays_and_nothing_is_written(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "gpudoctor-check.timer").write_text("mine\n")
    done = gpudoctor("integrate", "systemd", "-o", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert [path.name for path in tmp_path.rglob("*")] == ["gpudoctor-check.timer"]


def test_a_link_is_not_written_through(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "gpudoctor-slurm").symlink_to(tmp_path / "elsewhere")
    assert gpudoctor("integrate", "slurm", "-o", tmp_path).returncode == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("nagios",), ("slurm/nothing", "--print"), ("--print",), ("slurm", "-o", "/proc/nowhere"),
        ("slurm", "--print", "--program", "gpudoctor"), ("slurm", "--print", "--program", "/bin/sh -c x;y"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(gpudoctor: Command, words: tuple[str, ...]) -> None:
    done = gpudoctor("integrate", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_programs_get_one_document(gpudoctor: Command) -> None:
    document = json.loads(gpudoctor("integrate", "slurm", "--json").stdout)
    [one] = document["integrations"]
    assert one["files"][0]["mode"] == "0755"
    assert one["files"][0]["text"].startswith("#!/bin/sh\n")
