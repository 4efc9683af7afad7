"""What is built is what is here: a package left out of the list is missing only from the wheel."""

from __future__ import annotations

import importlib.util
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKOUT = Path(__file__).parents[2]


def wanted() -> set[str]:
    """Name every file of the package as it must lie in the wheel."""
    files = set()
    for folder, prefix in (("gpudoctor", ""), ("checks", "gpudoctor/"), ("integrations", "gpudoctor/")):
        for path in (CHECKOUT / folder).rglob("*"):
            # A catalogue is installed compiled.
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".po":
                files.add(prefix + str(path.relative_to(CHECKOUT)))
    # The Ansible collection is not installed with the package.
    return {name for name in files if not name.startswith("gpudoctor/integrations/ansible/")}


def test_every_package_is_listed() -> None:
    with (CHECKOUT / "pyproject.toml").open("rb") as file:
        listed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    here = {str(Path(name).parent).replace("/", ".") for name in wanted() if name.endswith(".py")}
    assert here == listed


def built(pattern: str) -> Path:
    folder = os.environ.get("GPUDOCTOR_DIST")
    if not folder:
        pytest.skip("nothing was built: tests/run builds, plain pytest does not")
    [found] = Path(folder).glob(pattern)
    return found


def test_wheel_has_every_file_and_no_other() -> None:
    with zipfile.ZipFile(built("*.whl")) as wheel:
        inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
        license_text = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    assert inside == wanted()
    assert license_text


def test_sdist_can_be_tested() -> None:
    with tarfile.open(built("*.tar.gz")) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("tests/conftest.py", "tests/run", ".ci/run", "install.sh", "LICENSE", "checks/__init__.py"):
        assert name in inside
    fixtures = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "fixtures").rglob("*") if path.is_file()}
    assert fixtures <= inside
    assert not [name for name in inside if "__pycache__" in name]


def test_the_installed_wheel_is_under_test() -> None:
    if not os.environ.get("GPUDOCTOR_DIST"):
        pytest.skip("plain pytest may test the checkout")
    spec = importlib.util.find_spec("gpudoctor")
    assert spec is not None
    assert spec.origin is not None
    assert "site-packages" in Path(spec.origin).parts
