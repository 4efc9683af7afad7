"""A real bundle, installed and used where there is no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [pytest.mark.tier("install"), pytest.mark.tier("root")]

FIXTURE = Path(__file__).parents[2] / "fixtures/h100x8-healthy/snapshot.json"


def test_the_machine_is_judged(installed: Path, cut: Run) -> None:
    done = cut(installed / "bin/gpudoctor", "check", "--expect-gpus", "0", "--json")
    report = json.loads(done.stdout)
    assert report["schema"] == "gpudoctor.report/1"
    assert report["summary"]["pass"] > 0
    assert done.returncode == report["run"]["exit_code"]


def test_a_model_is_fitted(installed: Path, cut: Run) -> None:
    done = cut(installed / "bin/gpudoctor", "fit", "gpt-oss:120b", "--snapshot", FIXTURE, "--json")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "fits"), done.stderr


def test_a_recorded_machine_is_judged_as_ever(installed: Path, cut: Run) -> None:
    done = cut(installed / "bin/gpudoctor", "check", "--snapshot", FIXTURE, "--json")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "pass"), done.stderr


def test_an_unpacked_bundle_stays_offline_by_itself(unpacked: Path, tmp_path: Path, cut: Run) -> None:
    done = cut("sh", unpacked / "install.sh", "--dry-run", "--prefix", tmp_path / "p", "--python", sys.executable)
    assert done.returncode == 0, done.stderr
    assert "--no-index --find-links" in done.stdout
    assert f"--require-hashes --requirement {unpacked}/requirements/py3{sys.version_info[1]}.txt\n" in done.stdout


def test_without_venv_and_pip_the_package_is_named(unpacked: Path, tmp_path: Path, cut: Run) -> None:
    """Neither the bundle's pip nor Python's own: as on a Debian whose python3-venv is missing."""
    wheels = shutil.copytree(unpacked / "wheelhouse", tmp_path / "wheels")
    for wheel in wheels.glob("pip-*.whl"):
        wheel.unlink()
    with (wheels / "SHA256SUMS").open("w") as sums:
        names = sorted(path.name for path in wheels.glob("*.whl"))
        subprocess.run(["sha256sum", *names], cwd=wheels, stdout=sums, check=True)
    (tmp_path / "empty").mkdir()
    find = "import importlib.util as u; print(*(s.submodule_search_locations[0] for s in map(u.find_spec, {!r}) if s))"
    code = find.format(["ensurepip", "virtualenv"])
    folders = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    hide = "".join(
        f"mount --bind {tmp_path}/empty {folder} && "
        for folder in [*folders.split(), "/usr/share/python-wheels"]
        if Path(folder).is_dir()
    )
    options = ("--wheelhouse", wheels, "--prefix", tmp_path / "p", "--python", sys.executable)
    for release, said in (
        ("ID=debian", "apt install python3-venv"),
        ('ID="rhel"', f"dnf install python3.{sys.version_info[1]}-pip-wheel"),
    ):
        system = tmp_path / "os-release"
        system.write_text(release + "\n")
        done = cut("sh", unpacked / "install.sh", *options, hide=hide, GPUDOCTOR_OS_RELEASE=str(system))
        assert done.returncode == 2
        assert said in done.stderr
        assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("what", ["full", "read-only"])
def test_a_disk_that_takes_nothing(unpacked: Path, tmp_path: Path, cut: Run, what: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    option = "size=1m" if what == "full" else "ro"
    left = tmp_path / "left"
    script = f'mount -t tmpfs -o {option} none {disk}; "$@"; code=$?; find {disk} -mindepth 1 >{left}; exit $code'
    options = ("--prefix", disk / "p", "--python", sys.executable)
    done = cut("sh", "-c", script, "sh", "sh", unpacked / "install.sh", *options)
    assert done.returncode == 2
    assert ("No space left" if what == "full" else "cannot make the folder") in done.stderr
    assert "gpudoctor is not installed" in done.stderr
    assert left.read_text() == ""


def test_the_single_file_runs_with_a_bare_python(single_file: Path, tmp_path: Path, cut: Run) -> None:
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = tmp_path / "bare/bin/python"
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    command = (python, single_file, "check", "--expect-gpus", "0", "--json")
    done = cut(*command, HOME=str(home), XDG_CACHE_HOME="")
    assert json.loads(done.stdout)["summary"]["pass"] > 0, done.stderr
    [cache] = home.glob(".cache/gpudoctor-pyz")
    assert cache.stat().st_mode & 0o777 == 0o700
    before = sorted(path.name for path in cache.iterdir())
    assert len(before) == 1
    again = cut(python, single_file, "--version", HOME=str(home), XDG_CACHE_HOME="")
    assert again.stdout.startswith("gpudoctor ")
    assert sorted(path.name for path in cache.iterdir()) == before


def test_the_single_file_needs_no_home_and_no_disk(single_file: Path, cut: Run) -> None:
    """Only memory takes what it unpacks; /tmp and /var/tmp are there, but allow no programs or no writing."""
    folder = single_file.parent
    hide = f"mount --bind {folder} /mnt && mount -o remount,bind,ro /mnt && mount -t tmpfs none /dev/shm && "
    hide += "mount -t tmpfs -o noexec none /var/tmp && mount -t tmpfs none /run && "
    hide += "mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp && "
    done = cut(sys.executable, "-I", "/mnt/gpudoctor.pyz", "--version", hide=hide, HOME="/nonexistent", TMPDIR="/proc")
    assert done.stdout.startswith("gpudoctor "), done.stderr
    assert not Path("/nonexistent").exists()


def test_a_folder_that_others_can_write_is_not_run_from(single_file: Path, tmp_path: Path, cut: Run) -> None:
    home = tmp_path / "home"
    (home / ".cache/gpudoctor-pyz").mkdir(parents=True)
    (home / ".cache/gpudoctor-pyz").chmod(0o777)
    done = cut(sys.executable, "-I", single_file, "--version", HOME=str(home), XDG_CACHE_HOME="")
    assert done.stdout.startswith("gpudoctor ")
    assert list((home / ".cache/gpudoctor-pyz").iterdir()) == []


def test_another_python_is_told(single_file: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.py"
    file = str(single_file)
    start.write_text(
        "import sys, runpy; sys.version_info = (3, 6, 0, 'final', 0); "
        f"sys.argv = [{file!r}, 'check', '--json']; runpy.run_path({file!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-I", start], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"is made for Python 3.{sys.version_info[1]}, {os.uname().machine}" in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 2
    assert done.stderr.count("\n") == 1
