"""Environments of running processes, real ones included."""

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.probes.env_processes import loaded_libraries, other_root, running
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root
from gpudoctor.probes.runner import ProbeSpec, run_probes

SPEC = ProbeSpec(name="python envs", modules=("python_envs",), sections=("python_envs",), patience=5)
MAPS = """\
7f00-7f01 r-xp 00000000 08:01 1 /usr/lib/x86_64-linux-gnu/libc.so.6
7f01-7f02 r-xp 00000000 08:01 2 /opt/v/lib/python3.12/site-packages/nvidia/cublas/lib/libcublas.so.12
7f02-7f03 r--p 00000000 08:01 2 /opt/v/lib/python3.12/site-packages/nvidia/cublas/lib/libcublas.so.12
7f03-7f04 rw-p 00000000 00:00 0 [heap]
7f04-7f05 r-xp 00000000 08:01 3 /usr/local/cuda-11.8/lib64/libcudnn.so.8
"""


def test_a_real_process_leads_to_its_venv(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    program = str(tmp_path / "env/bin/python")
    with subprocess.Popen([program, "-c", "import sys; print(1, flush=True); sys.stdin.read()", "--token", "sk-secret"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env={"LD_LIBRARY_PATH": str(tmp_path)}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        answer = run_probes([SPEC])[0]
        process.communicate("")
    found = msgspec.convert({"status": "recorded", **answer.sections["python_envs"]}, PythonEnvs)
    mine = [each for each in found.environments if process.pid in each.pids]
    assert [(each.path, each.kind, each.found) for each in mine] == [(str(tmp_path / "env"), "venv", ("process",))]
    assert mine[0].python == f"{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
    assert "secret" not in str(answer.sections)


def test_loaded_libraries_are_each_named_once() -> None:
    assert [(each.soname, each.path) for each in loaded_libraries(7, MAPS)] == [
        ("libcublas.so.12", "/opt/v/lib/python3.12/site-packages/nvidia/cublas/lib/libcublas.so.12"),
        ("libcudnn.so.8", "/usr/local/cuda-11.8/lib64/libcudnn.so.8")]
    assert loaded_libraries(7, "\0\xff" * 1000) == ()


@pytest.mark.parametrize("renamed", [True, False])
def test_a_renamed_worker_is_known_by_what_it_has_in_memory(
    root: Root, tmp_path: Path, make: Any, renamed: bool
) -> None:
    """vLLM's workers call themselves ``VLLM::EngineCore``."""
    make.venv(tmp_path / "opt/v")
    base = tmp_path / "proc/42"
    make.write(base / "cmdline", "VLLM::EngineCore\0" if renamed else "/opt/v/bin/python3\0/opt/v/bin/vllm\0")
    (base / "exe").symlink_to("/usr/bin/python3.12")
    make.write(base / "maps", MAPS)
    make.write(base / "environ", "LD_LIBRARY_PATH=/usr/local/cuda-11.8/lib64:\0HF_TOKEN=hf_secret\0")
    with (tmp_path / "lines").open("wb") as file:
        found = list(running(Reporter(file.fileno()), root))
    assert [(each.pid, each.prefix, each.library_path, len(each.loaded)) for each in found] == [
        (42, "/opt/v", ("/usr/local/cuda-11.8/lib64",), 2)]
    assert "secret" not in str(found)
    assert b"secret" not in (tmp_path / "lines").read_bytes()


def test_what_the_process_sees_decides_which_copy_shadows(
    root: Root, tmp_path: Path, make: Any, make_elf: Any
) -> None:
    site = make.venv(tmp_path / "opt/v")
    make.torch(site, runpath="$ORIGIN/../../nvidia/cudnn/lib")
    own = make.write(site / "nvidia/cudnn/lib/libcudnn.so.9", make_elf())
    make.write(tmp_path / "usr/local/cuda-12/lib64/libcudnn.so.9", make_elf())
    make.write(tmp_path / "proc/42/cmdline", "/opt/v/bin/python3\0")
    (tmp_path / "proc/42/exe").symlink_to("/opt/v/bin/python3.12")
    make.write(tmp_path / "proc/42/environ", "LD_LIBRARY_PATH=/usr/local/cuda-12/lib64\0")
    answer = run_probes([SPEC], root=str(tmp_path))[0]
    found = msgspec.convert({"status": "recorded", **answer.sections["python_envs"]}, PythonEnvs).environments[0]
    choice = next(each for each in found.loads if each.soname == "libcudnn.so.9")
    assert (choice.path, choice.via) == ("/usr/local/cuda-12/lib64/libcudnn.so.9", "ld-library-path")
    assert choice.bundled == str(own)[len(str(tmp_path)) :]
    assert choice.shadowed


@pytest.mark.parametrize("link", ["/usr/bin/bash", "/usr/bin/pythonic", "", "/usr/bin/python3.12 (deleted)"])
def test_other_programs_are_passed_over(root: Root, tmp_path: Path, make: Any, link: str) -> None:
    make.write(tmp_path / "proc/42/cmdline", "\0\0")
    if link:
        (tmp_path / "proc/42/exe").symlink_to(link)
    make.write(tmp_path / "proc/self/cmdline", "python3\0")
    with (tmp_path / "lines").open("wb") as file:
        found = list(running(Reporter(file.fileno()), root))
    assert [each.prefix for each in found] == (["/usr"] if "python3" in link else [])


def test_this_process_is_in_no_container_of_its_own() -> None:
    root = Root()

    assert other_root(root, os.getpid(), root.stat("/")) is None


@pytest.mark.tier("root")
def test_a_process_in_another_root_is_read_there(tmp_path: Path, make: Any) -> None:
    """As in a container: its files are reached through /proc/PID/root, and named as seen inside."""
    make.torch(make.venv(tmp_path / "opt/v"), version="2.8.0+cpu", cuda=None)
    code = f"import os, sys; os.chroot({str(tmp_path)!r}); print(1, flush=True); sys.stdin.read()"
    program = tmp_path / "python3.12"
    program.symlink_to(sys.executable)
    command = ["/opt/v/bin/python3", "-S", "-c", code]
    with subprocess.Popen(command, executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, env={"PYTHONHOME": sys.base_prefix}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        answer = run_probes([SPEC])[0]
        process.communicate("")
    found = msgspec.convert({"status": "recorded", **answer.sections["python_envs"]}, PythonEnvs)
    mine = next(each for each in found.environments if process.pid in each.pids)
    assert mine.path == "/opt/v"
    assert mine.container is not None
    assert mine.torch is not None
    assert mine.torch.version == "2.8.0+cpu"  # type: ignore[union-attr]
