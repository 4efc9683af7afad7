"""Toolkits, compilers and system libraries on made machines and on this one."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.toolkits import Toolkits
from gpudoctor.probes import toolkits
from gpudoctor.probes.places import Places
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root
from gpudoctor.probes.runner import ProbeSpec, run_probes

SPEC = ProbeSpec(name="toolkits", modules=("toolkits",), sections=("toolkits",), patience=5)


def take(root: Root) -> Toolkits:
    answer = run_probes([SPEC], root=root.prefix)[0]
    assert answer.missing == {}
    return msgspec.convert({"status": "recorded", **answer.sections["toolkits"]}, Toolkits)


def test_toolkits_side_by_side(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    local = tmp_path / "usr/local"
    make.write(local / "cuda-12.4/version.json", '{"cuda": {"name": "CUDA SDK", "version": "12.4.1"}}')
    make.write(local / "cuda-12.4/bin/nvcc")
    make.write(local / "cuda-12.4/targets/x86_64-linux/include/cuda_runtime.h")
    make.write(local / "cuda-12.4/lib64/libnvrtc.so.12", make_elf())
    make.write(local / "cuda-10.2/version.txt", "CUDA Version 10.2.89\n")
    make.write(local / "cuda-10.2/lib64/libcudart.so.10.2", make_elf())
    make.write(local / "cuda-13.0/include/cuda.h", "#define CUDA_VERSION 13000\n")
    make.write(tmp_path / "opt/cuda-11.8/bin/nvcc")
    (local / "cuda-9.0/doc").mkdir(parents=True)
    (local / "cuda").symlink_to("/etc/alternatives/cuda")
    (tmp_path / "etc/alternatives").mkdir(parents=True)
    (tmp_path / "etc/alternatives/cuda").symlink_to("/usr/local/cuda-12.4")
    found = take(root)
    assert [(each.path, each.version, each.nvcc is not None, each.headers) for each in found.toolkits] == [
        ("/usr/local/cuda-13.0", "13.0", False, ("cuda.h",)),
        ("/usr/local/cuda-12.4", "12.4.1", True, ("cuda_runtime.h",)),
        ("/opt/cuda-11.8", "11.8", True, ()),
        ("/usr/local/cuda-10.2", "10.2.89", False, ()),
    ]
    assert found.toolkits[1].names == ("/usr/local/cuda",)
    assert found.toolkits[1].nvrtc == "/usr/local/cuda-12.4/lib64/libnvrtc.so.12"
    assert isinstance(found.nvcc_on_path, Unavailable)
    assert found.nvcc_on_path.harmless


@pytest.mark.parametrize("text", ["", "[]", "{" * 60_000, '{"cuda": 3}', '{"cuda": {"version": "\\u001b[31m"}}'])
def test_a_broken_version_file_falls_back_to_the_name(root: Root, tmp_path: Path, make: Any, text: str) -> None:
    make.write(tmp_path / "usr/local/cuda-12.4/version.json", text)
    make.write(tmp_path / "usr/local/cuda-12.4/bin/nvcc")
    assert [each.version for each in take(root).toolkits] == ["12.4"]


def test_the_distribution_s_toolkit(root: Root, tmp_path: Path, make: Any) -> None:
    make.write(tmp_path / "usr/lib/nvidia-cuda-toolkit/bin/nvcc")
    make.write(tmp_path / "usr/include/cuda.h", "#define CUDA_VERSION 12020 /* 12.2 */\n")
    make.write(tmp_path / "usr/bin/nvcc", "#!/bin/sh\nexec /usr/lib/nvidia-cuda-toolkit/bin/nvcc \"$@\"\n")
    assert ("distribution", "12.2") in [(each.origin, each.version) for each in take(root).toolkits]
    assert toolkits.compiler_behind(root, "/usr/bin/nvcc") == "/usr/lib/nvidia-cuda-toolkit/bin/nvcc"


def test_nvcc_on_path_belongs_to_its_toolkit(tmp_path: Path, make: Any) -> None:
    make.write(tmp_path / "cuda-12.4/bin/nvcc").chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nvcc").symlink_to(tmp_path / "cuda-12.4/bin/nvcc")
    root = Root()
    nvcc = toolkits.nvcc_on_path(["/gone", str(tmp_path / "bin"), "/usr/bin"])
    assert nvcc == str(tmp_path / "bin/nvcc")
    with (tmp_path / "lines").open("wb") as file:
        places = Places(Reporter(file.fileno()), root)
        found = toolkits.read_toolkits(root, nvcc, None, None, places)
    assert [(each.version, each.nvcc_on_path) for each in found if each.path.startswith(str(tmp_path))] == [
        ("12.4", True)]
    assert toolkits.nvcc_on_path([]) is None


def test_compat_libraries_and_how_they_are_reached(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    for version, driver in (("12.8", "570.86.15"), ("13.0", "580.65.06")):
        folder = tmp_path / f"usr/local/cuda-{version}/compat"
        make.write(folder / f"libcuda.so.{driver}", make_elf())
        (folder / "libcuda.so.1").symlink_to(f"libcuda.so.{driver}")
    found = toolkits.compat_libraries(root, ("/usr/local/cuda-13.0/compat",))
    assert {(each.version, each.reached) for each in found} == {("570.86.15", None), ("580.65.06", "ld-library-path")}


def test_system_copies_and_folders_of_the_variable(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    make.write(tmp_path / "usr/lib/x86_64-linux-gnu/libcudnn.so.8.9.7", make_elf())
    (tmp_path / "usr/lib/x86_64-linux-gnu/libcudnn.so.8").symlink_to("libcudnn.so.8.9.7")
    (tmp_path / "usr/lib/x86_64-linux-gnu/libcudnn.so").symlink_to("libcudnn.so.8")
    (tmp_path / "lib").symlink_to("usr/lib")
    found = take(root)
    assert [(each.soname, each.version, each.origin) for each in found.copies("libcudnn")] == [
        ("libcudnn.so.8", "8.9.7", "system")]
    make.write(tmp_path / "env/lib/libcublas.so.12", make_elf())
    folder = toolkits._folder(root, "/env/lib")
    assert [each.soname for each in folder.libraries] == ["libcublas.so.12"]
    assert not toolkits._folder(root, "/gone").exists


def test_compilers_by_their_names_where_they_cannot_be_run(root: Root, tmp_path: Path, make: Any) -> None:
    make.write(tmp_path / "usr/bin/gcc-12")
    (tmp_path / "usr/bin/gcc").symlink_to("gcc-12")
    make.write(tmp_path / "usr/bin/clang++-18")
    make.write(tmp_path / "usr/bin/gcc-ar-12")
    make.write(tmp_path / "opt/rh/gcc-toolset-13/root/usr/bin/g++")
    make.write(tmp_path / "usr/include/python3.12/Python.h")
    found = take(root)
    assert {(each.path, each.name, each.version, each.default) for each in found.compilers} == {
        ("/usr/bin/gcc", "gcc", "12", True), ("/usr/bin/gcc-12", "gcc", "12", False),
        ("/usr/bin/clang++-18", "clang++", "18", False),
        ("/opt/rh/gcc-toolset-13/root/usr/bin/g++", "g++", "13", False)}
    assert found.python_headers == ("3.12",)


def test_a_folder_that_hangs_keeps_its_place(root: Root, said: Any) -> None:
    """The section is sent field by field, so that what stands in for a lost item stays."""
    lines = said(toolkits, root)
    assert all("library_path" not in line.get("set", {}) and "compilers" not in line.get("set", {}) for line in lines)


@pytest.mark.tier("gcc")
def test_this_machine_s_compiler_tells_its_version() -> None:
    path = shutil.which("gcc")
    found = {each.path: each for each in take(Root()).compilers}
    if path not in found:
        pytest.skip("gcc is in no system folder here")
    command = ["gcc", "-dumpfullversion", "-dumpversion"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert found[path].version == version
    assert found[path].default
