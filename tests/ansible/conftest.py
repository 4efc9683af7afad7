"""The collection as it would be shipped, and a rack to run it on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_cli import HOST_PYTHON, PROGRAMS, Ansible
from rack import Rack


@pytest.fixture(scope="session")
def collection(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of collections in which ours lies, built and installed by ansible-galaxy."""
    place = tmp_path_factory.mktemp("collections")
    galaxy = str(PROGRAMS / "ansible-galaxy")
    source = str(checkout / "integrations" / "ansible")
    environment = {"HOME": str(place), "PATH": f"{PROGRAMS}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    for arguments in (["build", source, "--output-path", str(place)], ["install", "--offline", "-p", str(place)]):
        built = [str(path) for path in place.glob("*.tar.gz")]
        done = subprocess.run(
            [galaxy, "collection", *arguments, *built], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="session")
def ansible(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    return Ansible(tmp_path_factory.mktemp("controller"), collection)


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """Four hosts, each another GPU machine, all of them well."""
    found = Rack(tmp_path_factory.mktemp("rack"))
    try:
        found.add("gpu01", "2x-geforce-rtx-4090")
        found.add("gpu02", "8x-h100-hgx")
        found.add("gpu03", "4x-quadro-rtx-8000")
        found.add("gpu04", "2x-geforce-rtx-4090")
        for host in found.hosts.values():
            host.wait()
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``gpudoctor bundle`` makes for hosts without network."""
    path = tmp_path_factory.mktemp("bundle") / "gpudoctor.tar.gz"
    asked = [HOST_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("gpudoctor")), "bundle", "-o", str(path), "--python", version],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def wheels(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels, those of the bundle."""
    place = tmp_path_factory.mktemp("wheels")
    subprocess.run(["tar", "-xzf", str(bundle), "-C", str(place)], check=True)
    (found,) = place.glob("*/wheelhouse")
    return found
