"""Throw-away environments with real wheels, read back and compared with pip."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import msgspec
import pytest

from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs
from gpudoctor.probes.runner import ProbeSpec, run_probes

SPEC = ProbeSpec(name="python envs", modules=("python_envs",), sections=("python_envs",), patience=8)
#: Small, and each of another make: CUDA 12's and 13's folders, one with machine code.
WHEELS = ("nvidia-cuda-runtime-cu12==12.9.79", "nvidia-cuda-runtime==13.0.48", "nvidia-nvjpeg-cu12==12.4.0.76",
          "nvidia-cuda-nvrtc-cu12==12.9.86", "ninja==1.11.1.4")

pytestmark = pytest.mark.tier("install")


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with real wheels and an editable install of a project of our own."""
    folder = tmp_path_factory.mktemp("real")
    project = folder / "project"
    (project / "transformers").mkdir(parents=True)
    (project / "transformers/__init__.py").write_text("")
    (project / "pyproject.toml").write_text(
        '[project]\nname = "transformers"\nversion = "9.9.9"\ndependencies = ["torch>=2.4", "requests"]\n'
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n')
    venv.create(folder / "env", symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "env/bin/python"), "install", "-q", "--no-deps"]
    subprocess.run([*pip, *WHEELS], check=True, timeout=300)
    subprocess.run([*pip, "-e", str(project)], check=True, timeout=300)
    return folder / "env"


def read(prefix: Path) -> PythonEnvironment:
    answer = run_probes([SPEC], options={"python": [str(prefix / "bin/python")]})[0]
    found = msgspec.convert({"status": "recorded", **answer.sections["python_envs"]}, PythonEnvs)
    return next(each for each in found.environments if each.path == str(prefix))


def pip_list(prefix: Path) -> dict[str, str]:
    command = [sys.executable, "-m", "pip", "--python", str(prefix / "bin/python"), "list", "--format=json"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)
    return {each["name"].lower(): each["version"] for each in told}


def test_versions_are_those_that_pip_lists(prefix: Path) -> None:
    found, told = read(prefix), pip_list(prefix)
    assert {each.name: each.version for each in found.packages} == told
    assert found.package_count == len(told)
    assert found.problems == ()
    assert found.failure is None
    assert found.found[0] == "option"


def test_the_interpreter_is_described_as_it_describes_itself(prefix: Path) -> None:
    code = "import platform, sysconfig, sys; print(platform.python_version(), sysconfig.get_config_var('SOABI'))"
    said = subprocess.run([prefix / "bin/python", "-c", code], check=True, capture_output=True, text=True).stdout
    version, abi = said.split()
    found = read(prefix)
    assert found.python == version
    assert found.abi is not None
    assert found.abi == "cp" + abi.split("-")[1]
    assert found.platform is not None
    assert found.platform.partition("-")[2] in abi


def test_an_editable_install_is_told_with_its_folder_and_needs(prefix: Path) -> None:
    found = read(prefix)
    assert found.editable == ("transformers",)
    package = found.package("transformers")
    assert package is not None
    assert package.source == str(prefix.parent / "project")
    assert package.requires == ("torch>=2.4",)


def test_cuda_libraries_of_both_majors_have_their_wheels(prefix: Path) -> None:
    found = {each.soname: (each.package, each.version) for each in read(prefix).libraries}
    assert found == {
        "libcudart.so.12": ("nvidia-cuda-runtime-cu12", "12.9.79"),
        "libcudart.so.13": ("nvidia-cuda-runtime", "13.0.48"),
        "libnvjpeg.so.12": ("nvidia-nvjpeg-cu12", "12.4.0.76"),
        "libnvrtc.so.12": ("nvidia-cuda-nvrtc-cu12", "12.9.86"),
    }


def test_half_removed_by_hand_is_said(prefix: Path) -> None:
    info = next(prefix.glob("lib/python3*/site-packages/ninja-*.dist-info"))
    (info / "METADATA").rename(info / "METADATA.away")
    try:
        found = read(prefix)
        assert found.package("ninja") is None
        assert [problem for problem in found.problems if "ninja" in problem]
    finally:
        (info / "METADATA.away").rename(info / "METADATA")
