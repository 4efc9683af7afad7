"""``gpudoctor bundle``: what it makes, whom it asks, and why it makes nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]

NOWHERE = {
    "PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://user:secret@127.0.0.1:9/simple", "PIP_FIND_LINKS": "",
    "PIP_EXTRA_INDEX_URL": "", "PIP_RETRIES": "0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--python", "3.9"], "gpudoctor needs 3.10 or newer"),
        (["--python", "../3.11"], "gpudoctor needs 3.10 or newer"),
        (["--python", "2.7"], "gpudoctor needs 3.10 or newer"),
        (["--platform", "win_amd64"], "is no platform of Linux wheels"),
        (["--platform", "manylinux_2_28_"], "is no platform of Linux wheels"),
        (["--pyz", "--python", "3.10", "--python", "3.11"], "a single file is for one Python"),
        (["-o", "/"], "it is a folder"),
        (["-o", "nowhere/b.tar.gz"], "there is no such folder"),
    ],
)
def test_nothing_is_asked_when_the_question_is_wrong(
    gpudoctor: Run, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = gpudoctor("bundle", "-o", tmp_path / "b.tar.gz", *arguments, **NOWHERE)
    assert done.returncode == 2
    assert said in done.stderr
    assert "asks" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_index_that_cannot_be_reached(gpudoctor: Run, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    done = gpudoctor("bundle", "-o", tmp_path / "b.tar.gz", "--json", **NOWHERE, TMPDIR=str(tmp_path / "tmp"))
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first == "bundle: asks 127.0.0.1, as pip is set"
    assert "the package index cannot be reached" in second
    assert "cannot be reached" in json.loads(done.stdout)["error"]["message"]
    assert "secret" not in done.stderr + done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.tier("install")
def test_it_says_whom_it_asks_and_what_it_made(made: tuple[Path, Done], pythons: tuple[str, ...]) -> None:
    archive, done = made
    assert re.match(r"bundle: asks [\w., -]+, as pip is set", done.stderr)
    document = json.loads(done.stdout)
    assert document["schema"] == "gpudoctor.bundle/1"
    assert document["pythons"] == list(pythons)
    assert document["library"].startswith("glibc 2.")
    assert document["asked_hosts"]
    assert document["bytes"] == archive.stat().st_size


@pytest.mark.tier("install")
def test_sha256sum_agrees_with_every_file(unpacked: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=unpacked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    files = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert {line.partition(": ")[0] for line in done.stdout.splitlines()} == files - {"SHA256SUMS"}


@pytest.mark.tier("install")
def test_wheels_follow_the_other_python_and_not_the_one_that_ran(unpacked: Path, pythons: tuple[str, ...]) -> None:
    """tomli is wanted by Python 3.10 alone; pip evaluates that with the Python that it runs in."""
    wanted = {python: (unpacked / f"requirements/py{python.replace('.', '')}.txt").read_text() for python in pythons}
    assert {python: "tomli==" in text for python, text in wanted.items()} == {p: p == "3.10" for p in pythons}
    assert all(" --hash=sha256:" in line for text in wanted.values() for line in text.splitlines())


@pytest.mark.tier("install")
def test_manuals_and_tables_are_in_it(unpacked: Path, gpudoctor: Run) -> None:
    manual = (unpacked / "docs/checks/gpu.xid.md").read_text()
    assert gpudoctor("explain", "gpu.xid").stdout.startswith(manual.rstrip())
    assert '<h2 id="gpu.xid">' in (unpacked / "docs/checks.html").read_text()
    done = gpudoctor("matrices", "--from", unpacked / "matrices/gpudoctor-matrices.json")
    assert done.returncode == 0, done.stderr
    assert (unpacked / "README.md").read_text().startswith("# gpudoctor")
    assert "Apache License" in (unpacked / "LICENSE").read_text()


@pytest.mark.tier("install")
@pytest.mark.tier("root")
def test_the_installed_files_make_the_wheel_they_came_from(unpacked: Path, installed: Path, tmp_path: Path) -> None:
    [python] = installed.glob("lib/gpudoctor/env-*/bin/python")
    code = "import sys, pathlib, gpudoctor.bundle.own_wheel as own; own.repack(pathlib.Path(sys.argv[1]))"
    subprocess.run([python, "-I", "-c", code, tmp_path], check=True)
    [original] = unpacked.glob("wheelhouse/gpudoctor-*.whl")
    [packed] = tmp_path.glob("*.whl")
    assert packed.name == original.name
    assert listing(packed) == listing(original)


def listing(wheel: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(wheel) as archive:
        [record] = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        rows = {name: rest for name, *rest in csv.reader(io.StringIO(archive.read(record).decode()))}
        assert sorted(archive.namelist()) == sorted(rows)
    return rows


@pytest.mark.tier("install")
@pytest.mark.tier("root")
def test_a_changed_installation_makes_no_bundle(installed: Path, tmp_path: Path, cut: Run) -> None:
    [site] = installed.glob("lib/gpudoctor/env-*/lib/python3*/site-packages")
    changed = tmp_path / "__init__.py"
    changed.write_text("# not what was released\n")
    hide = f"mount --bind {changed} {site}/gpudoctor/facts/__init__.py && "
    done = cut(installed / "bin/gpudoctor", "bundle", "-o", tmp_path / "b", hide=hide, PIP_NO_INDEX="1")
    assert done.returncode == 2
    assert "gpudoctor/facts/__init__.py is not as it was installed" in done.stderr
    assert not (tmp_path / "b").exists()


@pytest.mark.tier("install")
@pytest.mark.tier("root")
def test_a_platform_without_wheels(installed: Path, unpacked: Path, tmp_path: Path, cut: Run) -> None:
    local = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(unpacked / "wheelhouse")}
    command = (installed / "bin/gpudoctor", "bundle", "-o", tmp_path / "b", "--platform", "manylinux_2_28_s390x")
    done = cut(*command, **local)
    assert done.returncode == 2
    assert f"no wheels for Python 3.{sys.version_info[1]} on manylinux_2_28_s390x" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_found_before_anything_is_asked(gpudoctor: Run, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        done = gpudoctor("bundle", "-o", "/proc/b.tar.gz", **NOWHERE)
    else:
        tmp_path.chmod(0o500)
        done = gpudoctor("bundle", "-o", tmp_path / "b.tar.gz", **NOWHERE)
    assert done.returncode == 2
    assert "cannot write" in done.stderr
    assert "asks" not in done.stderr
