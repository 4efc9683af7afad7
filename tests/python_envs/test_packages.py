"""Installed packages, from the records that installers leave."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.probes.env_binaries import cuda_libraries, recorded_libraries
from gpudoctor.probes.env_packages import Installed, normalised, parse_metadata, path_files, read_packages
from gpudoctor.probes.root import Root


def read(root: Root, *folders: str, conda: str | None = None) -> Installed:
    return read_packages(root, folders or ("/s",), conda)


def test_versions_and_pins(root: Root, tmp_path: Path, make: Any) -> None:
    make.dist(tmp_path / "s", "vllm", "0.33.0", files={"vllm/__init__.py": b""}, requires=[
        "torch==2.14.0", "Transformers >=4.56 ; python_version >= '3.10'", "fastapi>=0.1", "nvidia-cudnn-frontend>=1",
        "flashinfer-python==0.5.0 ; extra == 'flashinfer'"])
    make.dist(tmp_path / "s", "requests", "2.0")
    found = read(root)
    assert [(each.name, each.version) for each in found.packages] == [("vllm", "0.33.0")]
    assert found.packages[0].requires == (
        "torch==2.14.0", "Transformers >=4.56 ; python_version >= '3.10'", "nvidia-cudnn-frontend>=1")
    assert found.total == 2
    assert found.problems == ()


def test_the_description_is_no_header() -> None:
    assert parse_metadata("Version: 1\n\nVersion: 2\nRequires-Dist: torch\n") == ("1", ())
    assert parse_metadata("") == (None, ())


@pytest.mark.parametrize(("name", "plain"), [("Flash_Attn", "flash-attn"), ("a.-_b", "a-b")])
def test_names_are_normalised(name: str, plain: str) -> None:
    assert normalised(name) == plain


def test_editable_installs_of_each_age(root: Root, tmp_path: Path, make: Any) -> None:
    url = json.dumps({"url": "file:///src/vllm", "dir_info": {"editable": True}})
    make.dist(tmp_path / "s", "vllm", "0.33.0", direct_url=url)
    make.write(tmp_path / "s/sglang.egg-link", "/src/sglang\n.")
    make.write(tmp_path / "src/sglang/sglang.egg-info/PKG-INFO", "Name: sglang\nVersion: 0.5.2\n")
    git = json.dumps({"url": "https://me:secret@host/transformers.git", "vcs_info": {"vcs": "git"}})
    make.dist(tmp_path / "s", "transformers", "5.0", files={"transformers/__init__.py": b""}, direct_url=git)
    found = read(root)
    vllm, sglang, transformers = found.packages
    assert (vllm.editable, vllm.source, vllm.version) == (True, "/src/vllm", "0.33.0")
    assert (sglang.editable, sglang.source, sglang.version) == (True, "/src/sglang", "0.5.2")
    assert (transformers.editable, transformers.source) == (False, "https://***@host/transformers.git")
    assert found.editable == ("sglang", "vllm")
    assert "secret" not in str(found)


def test_eggs(root: Root, tmp_path: Path, make: Any) -> None:
    make.write(tmp_path / "s/xformers-0.0.20-py3.10-linux-x86_64.egg-info/PKG-INFO", "Version: 0.0.20\n")
    make.write(tmp_path / "s/triton-2.0.egg-info", "Metadata-Version: 1.1\nName: triton\nVersion: 2.0.0\n")
    assert {each.name: each.version for each in read(root).packages} == {"xformers": "0.0.20", "triton": "2.0.0"}


def test_half_removed_packages_are_said(root: Root, tmp_path: Path, make: Any) -> None:
    make.dist(tmp_path / "s", "vllm", "0.33.0", files={"vllm/__init__.py": b""})
    (tmp_path / "s/vllm/__init__.py").unlink()
    (tmp_path / "s/vllm").rmdir()
    (tmp_path / "s/triton-3.0.dist-info").mkdir()
    (tmp_path / "s/~orch-2.0.dist-info").mkdir()
    make.dist(tmp_path / "s", "xformers", "0.0.30", files={"xformers/__init__.py": b""})
    (tmp_path / "s/xformers-0.0.30.dist-info/METADATA").write_bytes(b"\xff\xfe\0nothing")
    found = read(root)
    said = " | ".join(found.problems)
    assert "vllm 0.33.0 is recorded as installed, but /s/vllm is gone" in said
    assert "/s/triton-3.0.dist-info has no METADATA" in said
    assert "/s/~orch-2.0.dist-info is left over" in said
    assert "names no version" in said
    assert {each.name: each.version for each in found.packages} == {"vllm": "0.33.0", "xformers": "0.0.30"}


def test_two_versions_of_one_package_are_said(root: Root, tmp_path: Path, make: Any) -> None:
    for version in ("2.4.0", "2.8.0"):
        make.dist(tmp_path / "s", "torch", version, files={"torch/__init__.py": b""})
    assert read(root).problems == ("/s records two versions of torch: 2.4.0, 2.8.0",)


def test_the_first_folder_of_the_import_path_wins(root: Root, tmp_path: Path, make: Any) -> None:
    make.dist(tmp_path / "local", "torch", "2.8.0", files={"torch/__init__.py": b""})
    make.dist(tmp_path / "dist", "torch", "2.1.0", files={"torch/__init__.py": b""})
    found = read(root, "/local", "/dist")
    assert [each.version for each in found.packages] == ["2.8.0"]
    assert found.problems == ()


def test_cudnn_of_two_majors_in_one_folder_is_said(root: Root, tmp_path: Path, make: Any) -> None:
    for name in ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"):
        make.dist(tmp_path / "s", name, "9.10.2.21", files={"nvidia/cudnn/lib/libcudnn.so.9": b""})
    assert read(root).problems == ("nvidia-cudnn-cu12 and nvidia-cudnn-cu13 in /s overwrite each other's files",)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("direct_url.json", b"[]"), ("direct_url.json", b"{" * 60_000), ("direct_url.json", b'{"dir_info": 3}'),
        ("METADATA", b"\0" * 5_000_000), ("METADATA", b"Version: " + b"9" * 100_000), ("RECORD", b'"' * 100_000),
        ("RECORD", b"../../../../etc/passwd.so,,\n/etc/x.so,,\n"),
    ],
)
def test_hostile_records(root: Root, tmp_path: Path, make: Any, path: str, content: bytes) -> None:
    info = make.dist(tmp_path / "s", "vllm", "0.33.0", files={"vllm/__init__.py": b""})
    make.write(info / path, content)
    found = read(root)
    assert [each.name for each in found.packages] == ["vllm"]
    assert len(str(found)) < 10_000
    assert recorded_libraries(content.decode()) == []


@pytest.mark.parametrize("kind", ["METADATA", "direct_url.json", "dist-info", "egg-link"])
def test_pipes_in_the_place_of_files_do_not_block(root: Root, tmp_path: Path, make: Any, kind: str) -> None:
    info = make.dist(tmp_path / "s", "vllm", "0.33.0", files={"vllm/__init__.py": b""})
    if kind == "egg-link":
        os.mkfifo(tmp_path / "s/torch.egg-link")
    elif kind == "dist-info":
        os.mkfifo(tmp_path / "s/torch-2.0.dist-info")
    else:
        (info / kind).unlink(missing_ok=True)
        os.mkfifo(info / kind)
    found = read(root)
    assert "vllm" in [each.name for each in found.packages]
    assert kind == "egg-link" or found.problems


def test_folders_that_path_files_add(root: Root, tmp_path: Path, make: Any) -> None:
    (tmp_path / "src").mkdir()
    make.write(tmp_path / "s/a.pth", "import os; os.abort()\n# no\n/src\n/gone\nrelative\n")
    make.write(tmp_path / "s/b.pth", "\0\n/src\n")
    assert path_files(root, "/s") == ["/src"]


def test_conda_tells_builds_and_what_pip_does_not_know(root: Root, tmp_path: Path, make: Any) -> None:
    for name in ("pytorch-2.5.1-cuda126_generic_py311_h1_200.json", "cuda-nvcc-12.6.85-hcdd1206_0.json", "not-json.txt",
                 "libcublas-12.6.4.1-h5888daf_1.json", "zlib-1.3-h0_0.json", "broken.json"):
        make.write(tmp_path / "env/conda-meta" / name, "{")
    found = read(root, "/env/none", conda="/env")
    assert {each.name: (each.version, each.build) for each in found.packages} == {
        "torch": ("2.5.1", "cuda126_generic_py311_h1_200"), "cuda-nvcc": ("12.6.85", "hcdd1206_0"),
        "libcublas": ("12.6.4.1", "h5888daf_1")}
    assert all(each.manager == "conda" for each in found.packages)


def test_cpu_build_of_conda_is_told_by_its_build_string(root: Root, tmp_path: Path, make: Any) -> None:
    make.write(tmp_path / "env/conda-meta/pytorch-2.5.1-cpu_generic_py311_0.json", "{}")
    package = read(root, conda="/env").packages[0]
    assert (package.name, package.version, package.build) == ("torch", "2.5.1", "cpu_generic_py311_0")


def test_libraries_of_wheels_have_their_package(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    site = tmp_path / "s"
    make.dist(site, "nvidia-cublas-cu12", "12.8.4.1", files={"nvidia/cublas/lib/libcublas.so.12": make_elf(),
                                                             "nvidia/cublas/lib/libcublasLt.so.12": make_elf()})
    make.dist(site, "nvidia-cuda-runtime", "13.0.48", files={"nvidia/cu13/lib/libcudart.so.13": make_elf()})
    make.write(site / "torch/lib/libcudart-1a2b3c4d.so.12", make_elf())
    installed = read(root)
    found = cuda_libraries(root, ["/s"], None, {each.name: each for each in installed.packages})
    assert {(each.soname, each.package, each.version) for each in found} == {
        ("libcublas.so.12", "nvidia-cublas-cu12", "12.8.4.1"), ("libcublasLt.so.12", "nvidia-cublas-cu12", "12.8.4.1"),
        ("libcudart.so.13", "nvidia-cuda-runtime", "13.0.48"), ("libcudart-1a2b3c4d.so.12", None, None)}
    assert {each.origin for each in found} == {"wheel"}
