"""One real bundle from the package index, and one installation of it where there is no network."""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Done = subprocess.CompletedProcess[str]

#: This Python, and one that needs another set of wheels.
PYTHONS = (f"3.{sys.version_info[1]}", "3.10" if sys.version_info[1] != 10 else "3.12")


def without_network(*command: str | Path, hide: str = "", **variables: str) -> Done:
    """Run a command where there is no network at all, as root in namespaces of its own."""
    script = hide + 'exec "$@"'
    return subprocess.run(
        ["unshare", "-mn", "sh", "-c", script, "sh", *map(str, command)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "HOME": "/proc/nowhere", "NO_COLOR": "1", **variables},
    )  # fmt: skip


@pytest.fixture
def cut() -> Callable[..., Done]:
    """The same, for tests."""
    return without_network


@pytest.fixture(scope="session")
def pythons() -> tuple[str, ...]:
    """The Pythons that the bundle is for."""
    return PYTHONS


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """What ``gpudoctor bundle`` made, and what it said; the wheels come from the index."""
    archive = tmp_path_factory.mktemp("made") / "gpudoctor.tar.gz"
    command = [str(Path(sys.executable).with_name("gpudoctor")), "bundle", "-o", str(archive), "--json"]
    for python in PYTHONS:
        command += ["--python", python]
    command += ["--platform", f"manylinux_2_28_{os.uname().machine}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return archive, done


@pytest.fixture(scope="session")
def unpacked(made: tuple[Path, Done], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's folder, as tar unpacks it."""
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "xzf", made[0], "-C", folder], check=True)
    [top] = folder.iterdir()
    return top


@pytest.fixture(scope="session")
def installed(made: tuple[Path, Done], unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix into which the bundle's own installer put it: without network, and without ensurepip as on Debian."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "empty").mkdir()
    prefix, script = folder / "p", unpacked / "install.sh"
    options = ("--bundle", made[0], "--prefix", prefix, "--python", sys.executable)
    hide = f"mount --bind {folder}/empty {Path(ensurepip.__file__).parent} && "
    done = without_network("sh", script, *options, hide=hide)
    assert done.returncode == 0, done.stderr
    return prefix


@pytest.fixture(scope="session")
def single_file(installed: Path, unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``gpudoctor.pyz``, made by the installed gpudoctor from a folder of wheels: it asks no host."""
    file = tmp_path_factory.mktemp("single") / "gpudoctor.pyz"
    local = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(unpacked / "wheelhouse")}
    done = without_network(installed / "bin/gpudoctor", "bundle", "--pyz", "-o", file, **local)
    assert done.returncode == 0, done.stderr
    assert "asks no host" in done.stderr
    return file
