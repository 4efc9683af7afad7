"""The installed build of torch: parsed, never run."""

from pathlib import Path
from typing import Any

import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.python_envs import TorchBuild
from gpudoctor.probes.env_binaries import Binaries
from gpudoctor.probes.env_torch import declared, parse_version_file, read_torch, torch_folder
from gpudoctor.probes.root import Root


def read(root: Root, folder: str) -> TorchBuild:
    path = torch_folder(root, [folder])
    assert path is not None
    return read_torch(root, Binaries(root), path, "2.8.0")


def test_a_cuda_build(root: Root, tmp_path: Path, make: Any) -> None:
    make.torch(tmp_path / "s")
    build = read(root, "/s")
    assert (build.version, build.local_version, build.cuda, build.hip, build.git) == (
        "2.8.0+cu126", "cu126", "12.6", None, "abc")
    assert build.declared == build.compiled == build.arch_list == ("sm_75", "sm_80", "sm_90")
    assert build.cpu_only is False


def test_the_own_string_names_ptx_and_is_what_counts(root: Root, tmp_path: Path, make: Any) -> None:
    make.torch(tmp_path / "s", arches="sm_75 sm_80 sm_90 compute_90")
    build = read(root, "/s")
    assert build.arch_list == ("sm_75", "sm_80", "sm_90", "compute_90")
    assert build.compiled == ("sm_75", "sm_80", "sm_90")


def test_a_build_for_the_cpu(root: Root, tmp_path: Path, make: Any) -> None:
    make.torch(tmp_path / "s", version="2.8.0+cpu", cuda=None)
    build = read(root, "/s")
    assert build.cpu_only is True
    assert isinstance(build.arch_list, Unavailable)
    assert build.arch_list.harmless


def test_a_build_for_rocm_is_no_cpu_build(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    make.write(tmp_path / "s/torch/version.py", "__version__ = '2.8.0+rocm6.4'\ncuda = None\nhip = '6.4.43482'\n")
    make.write(tmp_path / "s/torch/lib/libtorch_python.so",
               make_elf(sections={".rodata": b"\0gfx90a gfx942 gfx1100\0"}))
    build = read(root, "/s")
    assert (build.cuda, build.hip, build.cpu_only) == (None, "6.4.43482", False)
    assert build.arch_list == ("gfx90a", "gfx942", "gfx1100")


def test_old_builds_say_it_without_annotations() -> None:
    said = parse_version_file("__version__ = '1.13.1+cu117'\ndebug = False\ncuda = '11.7'\nhip = None\n")
    assert said == {"__version__": "1.13.1+cu117", "cuda": "11.7", "hip": None}


@pytest.mark.parametrize(
    "text",
    ["", "cuda = '12.6'", "__version__ = ", "\0", "__version__ = f()", "(" * 100_000, "__version__ = 3",
     "import os\nos.abort()"],
)
def test_what_is_no_version_file_is_unknown_not_cpu(root: Root, tmp_path: Path, make: Any, text: str) -> None:
    make.write(tmp_path / "s/torch/version.py", text)
    build = read(root, "/s")
    assert build.version == "2.8.0"
    assert isinstance(build.cuda, Unavailable)
    assert build.cpu_only is None


def test_libraries_that_are_gone_are_unknown_not_empty(root: Root, tmp_path: Path, make: Any) -> None:
    make.torch(tmp_path / "s")
    for path in (tmp_path / "s/torch/lib").iterdir():
        path.unlink()
    build = read(root, "/s")
    assert isinstance(build.declared, Unavailable)
    assert isinstance(build.compiled, Unavailable)
    assert not build.arch_list.harmless  # type: ignore[union-attr]


def test_two_lists_in_one_library_are_no_answer(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    for text in (b"\0sm_80 sm_90\0sm_70 sm_75\0", b"\0sm_80\0sm_90\0", b"nothing"):
        make.write(tmp_path / "torch/lib/libtorch_python.so", make_elf(sections={".rodata": text}))
        assert isinstance(declared(root, "/torch"), Unavailable)
    make.write(tmp_path / "torch/lib/libtorch_python.so",
               make_elf(sections={".rodata": b"\0sm_80\0" + bytes(5 << 20) + b"\0sm_80 sm_90 sm_100a\0"}))
    assert declared(root, "/torch") == ("sm_80", "sm_90", "sm_100a")


def test_a_list_may_follow_other_text(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    """As in the wheel of 2.8.0, where the beginning of a signature stands before it."""
    text = b"\0from_ipc_handle(Device device, std::string ipc_hsm_70 sm_75 sm_80 compute_90\0\0/pytorch/torch"
    make.write(tmp_path / "torch/lib/libtorch_python.so", make_elf(sections={".rodata": text}))
    assert declared(root, "/torch") == ("sm_70", "sm_75", "sm_80", "compute_90")


def test_the_linear_algebra_library_says_nothing_of_torch(
    root: Root, tmp_path: Path, make: Any, make_elf: Any, make_fatbin: Any
) -> None:
    """MAGMA in it is compiled for GPUs that torch has dropped."""
    make.torch(tmp_path / "s")
    make.write(tmp_path / "s/torch/lib/libtorch_cuda_linalg.so",
               make_elf(sections={".nv_fatbin": make_fatbin((2, 50, 0), (2, 60, 0))}))
    assert read(root, "/s").compiled == ("sm_75", "sm_80", "sm_90")


def test_one_file_in_many_environments_is_scanned_once(root: Root, tmp_path: Path, make: Any) -> None:
    make.torch(tmp_path / "a")
    (tmp_path / "b/torch/lib").mkdir(parents=True)
    for path in (tmp_path / "a/torch/lib").iterdir():
        (tmp_path / "b/torch/lib" / path.name).hardlink_to(path)
    binaries = Binaries(root, seconds=60)
    assert binaries.arch_list("/a/torch/lib/libtorch_cuda.so") == ("sm_75", "sm_80", "sm_90")
    binaries._deadline = 0
    assert binaries.arch_list("/b/torch/lib/libtorch_cuda.so") == ("sm_75", "sm_80", "sm_90")
    make.write(tmp_path / "c.so", b"x")
    late = binaries.arch_list("/c.so")
    assert isinstance(late, Unavailable)
    assert late.kind == "timeout"
