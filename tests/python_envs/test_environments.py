"""The probe on made machines: every kind of environment, hostile trees, and limits that are said."""

import ctypes
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs
from gpudoctor.facts.redact import redact
from gpudoctor.facts.snapshot import Snapshot, decode, encode
from gpudoctor.probes import env_search, python_envs
from gpudoctor.probes.env_layout import parse_pyvenv
from gpudoctor.probes.root import Root
from gpudoctor.probes.runner import ProbeSpec, run_probes
from gpudoctor.probes.users import parse_passwd

SPEC = ProbeSpec(name="python envs", modules=("python_envs",), sections=("python_envs",), patience=5)
PASSWD = "root:x:0:0:root:/root:/bin/bash\nkim:x:1000:1000::/home/kim:/bin/bash\nftp:x:14:50::/var/ftp:/bin/false\n"


def take(root: Root, python: list[str] | None = None) -> PythonEnvs:
    answer = run_probes([SPEC], root=root.prefix, options={"python": python})[0]
    assert answer.missing == {}
    return msgspec.convert({"status": "recorded", **answer.sections["python_envs"]}, PythonEnvs)


def one(found: PythonEnvs, path: str) -> PythonEnvironment:
    return next(each for each in found.environments if each.path == path)


@pytest.fixture
def home(tmp_path: Path, make: Any) -> Path:
    make.write(tmp_path / "etc/passwd", PASSWD)
    return tmp_path / "home/kim"


def test_a_venv_with_torch_and_vllm(root: Root, home: Path, make: Any, make_elf: Any, make_fatbin: Any) -> None:
    site = make.venv(home / "llm/.venv")
    make.torch(site, runpath="$ORIGIN/../../nvidia/cublas/lib")
    make.dist(site, "nvidia-cublas-cu12", "12.6.4.1", files={"nvidia/cublas/lib/libcublas.so.12": make_elf()})
    make.dist(site, "vllm", "0.10.1", requires=["torch==2.8.0"], files={
        "vllm/__init__.py": b"", "vllm/_C.abi3.so": make_elf(
            needed=["libcublas.so.12", "libcudart.so.12"], sections={".nv_fatbin": make_fatbin((2, 80, 0))}),
        "vllm/plain.so": make_elf(needed=["libc.so.6"])})
    found = one(take(root), "/home/kim/llm/.venv")
    assert (found.kind, found.python, found.abi, found.platform) == ("venv", "3.12.3", "cp312", "linux-x86_64")
    assert found.found == ("home",)
    assert found.failure is None
    assert found.torch is not None
    assert found.torch.version == "2.8.0+cu126"  # type: ignore[union-attr]
    assert [each.name for each in found.engines] == ["vllm"]
    assert [(each.path, each.needs, each.arch_list) for each in found.extensions] == [
        ("vllm/_C.abi3.so", ("libcublas.so.12", "libcudart.so.12"), ("sm_80",))]
    cublas = "/home/kim/llm/.venv/lib/python3.12/site-packages/nvidia/cublas/lib/libcublas.so.12"
    assert {(each.soname, each.wanted_by, each.via, each.path) for each in found.loads} == {
        ("libcublas.so.12", "torch/lib/libtorch_cuda.so", "runpath", cublas),
        ("libcudnn.so.9", "torch/lib/libtorch_cuda.so", "missing", None),
        ("libcublas.so.12", "vllm/_C.abi3.so", "already-loaded", cublas),
        ("libcudart.so.12", "vllm/_C.abi3.so", "missing", None)}


def test_torch_opens_the_wheel_s_copy_itself_when_the_loader_finds_none(
    root: Root, home: Path, make: Any, make_elf: Any
) -> None:
    site = make.venv(home / "venv")
    make.torch(site)
    make.write(site / "nvidia/cudnn/lib/libcudnn.so.9", make_elf())
    loads = {each.soname: each.via for each in one(take(root), "/home/kim/venv").loads}
    assert loads == {"libcublas.so.12": "missing", "libcudnn.so.9": "preloaded"}


def test_every_kind_is_found(root: Root, tmp_path: Path, home: Path, make: Any, make_elf: Any) -> None:
    make.venv(home / ".local/share/uv/tools/vllm", extra="uv = 0.9.1\n")
    make.venv(tmp_path / "opt/vllm")
    for prefix in (home / ".pyenv/versions/3.11.9", home / ".local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu",
                   home / "miniconda3/envs/llm", tmp_path / "usr", home / "miniconda3"):
        version = "3.13" if "3.13" in prefix.name else "3.11"
        make.write(prefix / f"bin/python{version}", make_elf()).chmod(0o755)
        (prefix / "bin/python3").symlink_to(f"python{version}")
        (prefix / f"lib/python{version}/site-packages").mkdir(parents=True)
    for prefix in (home / "miniconda3", home / "miniconda3/envs/llm"):
        make.write(prefix / "conda-meta/python-3.11.7-h955ad1f_0.json", "{}")
    make.torch(tmp_path / "usr/lib/python3/dist-packages")
    make.torch(home / ".local/lib/python3.11/site-packages", version="2.1.0+cpu", cuda=None)
    found = {each.path: each for each in take(root).environments}
    assert {path: (each.kind, each.python) for path, each in found.items()} == {
        "/home/kim/.local/share/uv/tools/vllm": ("uv", "3.12.3"),
        "/opt/vllm": ("venv", "3.12.3"),
        "/home/kim/.pyenv/versions/3.11.9": ("pyenv", "3.11.9"),
        "/home/kim/.local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu": ("uv", "3.13.1"),
        "/home/kim/miniconda3": ("conda", "3.11.7"),
        "/home/kim/miniconda3/envs/llm": ("conda", "3.11.7"),
        "/home/kim/.local": ("other", "3.11"),
        "/usr": ("system", "3.11"),
    }
    assert found["/usr"].torch is not None
    assert found["/home/kim/.local"].torch.cpu_only is True  # type: ignore[union-attr]


def test_conda_s_own_libraries_and_compiler(root: Root, home: Path, make: Any, make_elf: Any) -> None:
    prefix = home / "miniforge3/envs/llm"
    (home / "miniforge3/conda-meta").mkdir(parents=True)
    make.write(prefix / "conda-meta/python-3.12.1-h0_0.json", "{}")
    make.write(prefix / "conda-meta/cuda-nvcc-12.6.85-h0_0.json", "{}")
    make.write(prefix / "bin/python3.12", make_elf(rpath="$ORIGIN/../lib"))
    (prefix / "bin/python3").symlink_to("python3.12")
    make.write(prefix / "bin/nvcc", "")
    make.torch(prefix / "lib/python3.12/site-packages")
    make.write(prefix / "lib/libcublas.so.12.6.4.1", make_elf())
    (prefix / "lib/libcublas.so.12").symlink_to("libcublas.so.12.6.4.1")
    found = one(take(root), "/home/kim/miniforge3/envs/llm")
    assert found.nvcc == "/home/kim/miniforge3/envs/llm/bin/nvcc"
    assert [(each.soname, each.origin, each.version) for each in found.libraries] == [
        ("libcublas.so.12", "conda", "12.6.4.1")]
    # The interpreter's DT_RPATH holds for what it opens.
    assert {each.soname: each.via for each in found.loads} == {"libcublas.so.12": "rpath", "libcudnn.so.9": "missing"}


def test_what_the_user_names_comes_first_and_is_never_passed_over(
    root: Root, tmp_path: Path, home: Path, make: Any
) -> None:
    make.torch(make.venv(home / "venv"))
    make.venv(tmp_path / "mnt/odd/place")
    (tmp_path / "mnt/odd/place/bin/python").symlink_to("python3.12")
    (tmp_path / "mnt/empty").mkdir()
    found = take(root, ["/mnt/odd/place/bin/python", "/mnt/empty", "/mnt/gone/bin/python"])
    assert found.environments[0].path == "/mnt/odd/place"
    assert found.environments[0].found == ("option",)
    assert {(each.path, each.failure) for each in found.left_out} == {
        ("/mnt/empty", "named with --python, but no Python environment"),
        ("/mnt/gone", "named with --python, but not there")}


def test_a_venv_whose_python_was_upgraded_away(root: Root, home: Path, make: Any) -> None:
    make.torch(make.venv(home / "venv"))
    (home / "venv/bin/python3.12").unlink()
    (home / "venv/bin/python3.12").symlink_to("/usr/bin/python3.12")
    found = one(take(root), "/home/kim/venv")
    assert found.interpreter is None
    assert "points to /usr/bin/python3.12, which is not there" in str(found.failure)
    assert found.torch is not None


def test_a_venv_that_shares_the_system_s_packages(root: Root, tmp_path: Path, home: Path, make: Any) -> None:
    make.torch(tmp_path / "usr/lib/python3/dist-packages")
    make.venv(home / "venv")
    text = (home / "venv/pyvenv.cfg").read_text().replace("= false", "= true")
    (home / "venv/pyvenv.cfg").write_text(text)
    assert one(take(root), "/home/kim/venv").torch is not None


def test_folders_that_an_upgrade_left_are_no_environment(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    for name in ("usr/bin/python3.12", "usr/local/bin/python3.13"):
        make.write(tmp_path / name, make_elf())
        (tmp_path / name).with_name("python3").symlink_to((tmp_path / name).name)
    for name in ("usr/lib/python3.12", "usr/lib/python3.10", "usr/local/lib/python3.12", "usr/local/lib/python3.13"):
        make.dist(tmp_path / name / "dist-packages", "requests", "2.0")
    assert {(each.path, each.python) for each in take(root).environments} == {("/usr", "3.12"), ("/usr/local", "3.13")}


def test_links_to_one_environment_count_once(root: Root, tmp_path: Path, home: Path, make: Any) -> None:
    make.venv(tmp_path / "opt/vllm")
    (home / "envs").mkdir(parents=True)
    (home / "envs/a").symlink_to("/opt/vllm")
    (tmp_path / "opt/current").symlink_to("vllm")
    assert len(take(root).environments) == 1


def test_a_hundred_environments_are_bounded_and_counted(root: Root, home: Path, make: Any) -> None:
    for number in range(100):
        site = make.venv(home / f"venvs/e{number:03}")
        if number == 99:
            make.torch(site)
    found = take(root)
    assert len(found.environments) == python_envs.MAX_ENVIRONMENTS
    assert found.more == 100 - python_envs.MAX_ENVIRONMENTS
    assert found.environments[0].path == "/home/kim/venvs/e099", "the one with torch is read whatever its name"


def test_a_crowd_of_folders_is_bounded_and_said(root: Root, tmp_path: Path, make: Any) -> None:
    for number in range(env_search._MAX_CHILDREN + 50):
        (tmp_path / f"opt/d{number:04}").mkdir(parents=True)
    assert [(each.path, "only its first" in each.failure) for each in take(root).left_out] == [("/opt", True)]


def test_hostile_trees_never_stop_the_probe(root: Root, tmp_path: Path, home: Path, make: Any) -> None:
    make.torch(make.venv(home / "venv"))
    loops = home / "envs"
    loops.mkdir()
    (loops / "self").symlink_to("self")
    (loops / "up").symlink_to("..")
    (loops / "a").symlink_to("b")
    (loops / "b").symlink_to("a")
    for name, thing in (("pipe", "pyvenv.cfg"), ("dir", "pyvenv.cfg"), ("bin", "bin")):
        (loops / name).mkdir()
        if name == "dir":
            (loops / name / thing).mkdir()
        else:
            os.mkfifo(loops / name / thing)
    (loops / "meta").mkdir()
    os.mkfifo(loops / "meta/conda-meta")
    site = make.venv(loops / "odd")
    os.mkfifo(site / "torch")
    make.write(loops / "odd/lib/python3.12/site-packages/vllm-1.dist-info/METADATA", "Version: 1\n")
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(site)
        try:
            server.bind("vllm")
        finally:
            os.chdir(before)
    (site / "nvidia").symlink_to(".")
    (home / "odd\nname\x1b[31m").mkdir()
    make.venv(home / "odd\nname\x1b[31m/venv")
    found = take(root)
    assert one(found, "/home/kim/venv").torch is not None
    assert one(found, "/home/kim/envs/odd").package("vllm") is not None


def test_other_file_systems_names_in_passwd() -> None:
    users = parse_passwd(PASSWD + "broken\nx:x:notanumber:1::/h:/s\nn:x:65534:1::/n:/s\nr:x:1:1::rel:/s\n")
    assert [user.name for user in users if user.is_person] == ["root", "kim"]


@pytest.mark.parametrize("text", ["", "home", "=\n= x\n", "version = " + "9" * 10_000, "VERSION_INFO = 3.12.1.final.0"])
def test_pyvenv_of_any_form(root: Root, tmp_path: Path, make: Any, text: str) -> None:
    assert isinstance(parse_pyvenv(text), dict)
    make.write(tmp_path / "opt/x/pyvenv.cfg", text)
    assert all(each.path == "/opt/x" for each in take(root).environments)


def test_an_environment_that_hangs_costs_only_itself(root: Root, home: Path, make: Any, said: Any) -> None:
    """A child that was lost in one leaves it out; the rest is said."""
    make.torch(make.venv(home / "venv"))
    make.venv(home / ".venv")
    lines = said(python_envs, root, ("environment /home/kim/venv (cp312)",))
    assert [line["append"]["path"] for line in lines if line.get("field") == "environments" and "append" in line] == [
        "/home/kim/.venv"]


def test_a_home_that_hangs_costs_only_itself(root: Root, tmp_path: Path, home: Path, make: Any, said: Any) -> None:
    make.venv(home / "venv")
    make.venv(tmp_path / "opt/vllm")
    lines = said(python_envs, root, ("what is in /home/kim",))
    items = [line for line in lines if "start" in line and line["section"] == "python_envs"]
    assert items, "places are announced before they are touched"
    assert [line["append"]["path"] for line in lines if line.get("field") == "environments" and "append" in line] == [
        "/opt/vllm"]


def test_unreadable_homes_are_named(make: Any, said: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make.write(Path(folder) / "etc/passwd", PASSWD)
        home = Path(folder) / "home/kim"
        make.venv(home / "venv")
        make.venv(Path(folder) / "opt/vllm")
        Path(folder).chmod(0o755)
        home.chmod(0)
        nobody = 65534 if os.geteuid() == 0 else os.geteuid()
        me = os.geteuid()
        os.seteuid(nobody)
        try:
            lines = said(python_envs, Root(folder))
        finally:
            os.seteuid(me)
            home.chmod(0o755)
    told = [line for line in lines if "append" in line]
    appended = {(line["field"], line["append"]["path"], line["append"]["failure"]) for line in told}
    assert ("left_out", "/home/kim", "no permission to list it") in appended
    assert ("environments", "/opt/vllm", None) in appended


def test_an_environment_of_ten_thousand_packages_is_bounded(root: Root, home: Path, make: Any) -> None:
    site = make.venv(home / "venv")
    for number in range(3_000):
        (site / f"p{number}-1.dist-info").mkdir()
    found = one(take(root), "/home/kim/venv")
    assert len(found.problems) == 64
    assert len(json.dumps(msgspec.to_builtins(found))) < 100_000


@pytest.mark.tier("root")
@pytest.mark.parametrize("place", ["home/kim", "opt/models"])
def test_a_volume_that_really_hangs(root: Root, tmp_path: Path, make: Any, place: str) -> None:
    """A FUSE volume whose server never answers: whoever touches it waits for ever."""
    make.write(tmp_path / "etc/passwd", PASSWD)
    make.venv(tmp_path / "opt/vllm")
    make.venv(tmp_path / "home/lee/venv")
    dead = tmp_path / place
    dead.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        server = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("no FUSE here")
    try:
        options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
        if libc.mount(b"gpudoctor-test", bytes(dead), b"fuse", 0, options) != 0:
            pytest.skip(f"cannot mount: {os.strerror(ctypes.get_errno())}")
        try:
            answer = run_probes([ProbeSpec(**{**msgspec.structs.asdict(SPEC), "patience": 1.0})], root=root.prefix)[0]
        finally:
            libc.umount2(bytes(dead), 2)
    finally:
        os.close(server)
    found = msgspec.convert({"status": "recorded", **answer.sections["python_envs"]}, PythonEnvs)
    assert {each.path for each in found.environments} == {"/opt/vllm", "/home/lee/venv"}
    assert [each.path for each in found.left_out] == [f"/{place}"]
    assert "did not answer" in found.left_out[0].failure


def test_a_redacted_snapshot_names_nobody(root: Root, home: Path, make: Any) -> None:
    site = make.venv(home / "llm/venv")
    make.torch(site)
    (site / "~orch-1.dist-info").mkdir()
    facts = redact(Snapshot(python_envs=take(root)))
    assert b"kim" not in msgspec.json.encode(facts)
    assert isinstance(facts.python_envs, PythonEnvs)
    assert facts.python_envs.environments[0].torch is not None
    assert decode(encode(facts), "again") == facts
