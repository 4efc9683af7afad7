"""gpudoctor's own program for containers: what it finds, that it is built of the source beside it, and runs alone."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from msgspec.structs import replace
from standin import machine, stand_in

import gpudoctor.probes
from gpudoctor.facts.live import Seen
from gpudoctor.probes import live_program, live_script

INSIDE = Path(gpudoctor.probes.__file__).with_name("inside")
CROSS = "/usr/aarch64-linux-gnu"
#: The compilers whose bytes lie in the tree.
PINNED = r"\(Debian 12\.2\.0-14(\+deb12u\d+)?\) 12\.2\.0"
#: No program is older than the first 64-bit glibc of its architecture.
OLDEST = {"x86_64": {"GLIBC_2.2.5"}, "aarch64": {"GLIBC_2.17"}}
COMPILERS = [
    pytest.param("x86_64", "gcc", marks=pytest.mark.tier("gcc")),
    pytest.param("aarch64", "aarch64-linux-gnu-gcc", marks=pytest.mark.tier("aarch64")),
]
here_is_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="its program is of another architecture")


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    place = tmp_path / "proof"
    shutil.copy(INSIDE / f"proof.{platform.machine()}", place)
    place.chmod(0o755)
    return place


def build(architecture: str, compiler: str, folder: Path) -> Path:
    if architecture == "x86_64" and platform.machine() != "x86_64":
        pytest.skip("gcc builds for another architecture here")
    place = folder / f"built.{architecture}"
    done = subprocess.run(["sh", str(INSIDE / "build.sh"), str(place), compiler], capture_output=True, text=True,
                          check=False, timeout=60)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return place


def run(command: list[str], variables: dict[str, str]) -> tuple[int, bytes]:
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, check=False, timeout=60)
    return done.returncode, done.stdout


def seen(program: Path, variables: dict[str, str], mode: str = "try") -> Seen:
    code, output = run([str(program), mode], variables)
    assert code == 0
    return live_script.read(output)


def by_python(variables: dict[str, str], mode: str = "try") -> Seen:
    code, output = run([sys.executable, "-I", "-S", "-c", live_script.program(), mode], variables)
    return live_script.read(output + f"\ngpudoctor-python {code if code >= 0 else 128 - code}\n".encode())


@pytest.mark.tier("gcc")
@pytest.mark.parametrize(
    "troubles",
    [
        (),
        ("count = 0",),
        ("count = 16",),
        ("count = 1",),
        ("banner = NVIDIA says hello",),
        ("fail.nvmlInitWithFlags = 18",),
        ("gpu.2.fail.nvmlDeviceGetHandleByIndex_v2 = 15",),
        ("fail.cuInit = 999",),
        ("crash.cuInit = 1",),
        ("crash.nvmlInitWithFlags = 1",),
        ("gpu.1.corrupt = 3",),
        ("gpu.3.fail.cuMemAlloc_v2 = 2",),
        ("gpu.2.fail.cuDeviceGetUuid = 1",),
        ("gpu.2.crash.cuMemcpyDtoH_v2 = 1",),
    ],
    ids=lambda troubles: ", ".join(troubles) or "healthy",
)
def test_it_finds_what_python_finds(shipped: Path, tmp_path: Path, troubles: tuple[str, ...]) -> None:
    variables = stand_in(tmp_path, machine("4x-quadro-rtx-8000", *troubles), ("nvml", "cuda"))
    found, other = seen(shipped, variables), by_python(variables)
    assert other.nvml_code is not None or other.python_exit == 139
    assert found.program_exit == other.python_exit
    assert replace(found, inside=None, program_exit=None) == replace(other, inside=None, python_exit=None)


@pytest.mark.tier("gcc")
def test_it_is_not_held_by_the_images_choice_of_gpus(shipped: Path, tmp_path: Path) -> None:
    variables = stand_in(tmp_path, machine("4x-quadro-rtx-8000"), ("nvml", "cuda"))
    assert seen(shipped, {**variables, "CUDA_VISIBLE_DEVICES": "1"}).cuda_count == 4


@pytest.mark.tier("gcc")
def test_a_look_leaves_cuda_alone(shipped: Path, tmp_path: Path) -> None:
    found = seen(shipped, stand_in(tmp_path, machine("4x-quadro-rtx-8000"), ("nvml", "cuda")), "look")
    assert (found.nvml_count, found.cuda_code, found.program_exit) == (4, None, 0)


@pytest.mark.tier("gcc")
@pytest.mark.parametrize(("symbol", "field"), [("cuMemAlloc_v2", "cuda_error"), ("nvmlInit_v2", "nvml_error")])
def test_a_library_that_lacks_a_function_is_named(shipped: Path, tmp_path: Path, symbol: str, field: str) -> None:
    text = machine("4x-quadro-rtx-8000", f"missing.{symbol} = 1")
    found = seen(shipped, stand_in(tmp_path, text, ("nvml", "cuda")))
    assert str(getattr(found, field)).endswith(f" has no {symbol}")
    assert found.program_exit == 0


@here_is_x86
def test_missing_libraries_are_named(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").write_bytes(b"\x7fELF no library")
    found = seen(shipped, {"LD_LIBRARY_PATH": str(tmp_path)})
    assert "libnvidia-ml.so.1: cannot open shared object file" in str(found.nvml_error)
    assert "libcuda.so.1" in str(found.cuda_error)
    assert found.program_exit == 0


@here_is_x86
@pytest.mark.tier("root")
@pytest.mark.parametrize(("loader", "said"), [(None, "none"), ("lib/ld-musl-x86_64.so.1", "musl")])
def test_where_there_is_no_glibc_it_says_so_and_starts_what_follows(
    shipped: Path, tmp_path: Path, loader: str | None, said: Literal["musl", "none"]
) -> None:
    root = tmp_path / "root"
    (root / "lib").mkdir(parents=True)
    shutil.copy(shipped, root / "proof")
    if loader is not None:
        (root / loader).touch()
    code, output = run(["chroot", str(root), "/proof", "try", "/proof"], {})
    # What follows is the program itself, without the word that it needs.
    assert (code, live_script.read(output)) == (2, Seen(inside="program", other_c_library=said))
    code, output = run(["chroot", str(root), "/proof", "try", "/bin/sh", "-c", ""], {})
    assert (code, live_script.read(output).inside) == (0, "program")


@here_is_x86
def test_what_follows_is_not_started_where_the_program_came_to_its_end(shipped: Path) -> None:
    _, output = run([str(shipped), "look", "/bin/echo", "gpudoctor-python 7"], {})
    assert live_script.read(output).python_exit is None


@pytest.mark.parametrize("arguments", [(), ("--linked",), ("--linked", "try", "more"), ("",), ("look", "/no/such")])
@here_is_x86
def test_it_survives_any_arguments(shipped: Path, arguments: tuple[str, ...]) -> None:
    code, _ = run([str(shipped), *arguments], {})
    assert code == (2 if not arguments else 0)


@pytest.mark.parametrize(("architecture", "compiler"), COMPILERS)
def test_its_source_makes_the_program_that_is_shipped(tmp_path: Path, architecture: str, compiler: str) -> None:
    built = build(architecture, compiler, tmp_path)
    again = tmp_path / "again"
    built.rename(again)
    assert build(architecture, compiler, tmp_path).read_bytes() == again.read_bytes()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    if not re.search(PINNED, version):
        pytest.skip("another compiler makes other bytes; that they do the same is another test")
    assert again.read_bytes() == (INSIDE / f"proof.{architecture}").read_bytes()


@pytest.mark.tier("gcc")
@pytest.mark.parametrize("trouble", ["count = 2", "gpu.1.corrupt = 1", "crash.cuInit = 1"])
def test_what_is_built_does_what_the_shipped_one_does(shipped: Path, tmp_path: Path, trouble: str) -> None:
    built = build(platform.machine(), "gcc", tmp_path)
    variables = stand_in(tmp_path, machine("4x-quadro-rtx-8000", trouble), ("nvml", "cuda"))
    assert run([str(built), "try"], variables) == run([str(shipped), "try"], variables)


@pytest.mark.tier("gcc")
@pytest.mark.parametrize("architecture", OLDEST)
def test_it_asks_for_no_newer_glibc_than_any_image_has(architecture: str) -> None:
    program = INSIDE / f"proof.{architecture}"
    told = subprocess.run(["readelf", "-lrVW", str(program)], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"GLIBC_[\d.]+", told)) == OLDEST[architecture]
    # No loader of its own choice, and nothing that a bare start would have to prepare.
    assert "INTERP" not in told
    assert set(re.findall(r"R_\w+", told)) <= {"R_X86_64_GLOB_DAT", "R_AARCH64_GLOB_DAT"}
    assert program.stat().st_size < 10_000


@pytest.mark.tier("aarch64")
def test_on_aarch64_it_finds_the_same(tmp_path: Path) -> None:
    """Both stages under QEMU; not that the first starts the second, for which the kernel would have to know QEMU."""
    shipped = tmp_path / "proof"
    shutil.copy(INSIDE / "proof.aarch64", shipped)
    shipped.chmod(0o755)
    text = machine("4x-quadro-rtx-8000", "gpu.1.corrupt = 3", "gpu.2.fail.cuMemAlloc_v2 = 2")
    variables = stand_in(tmp_path, text, ("nvml", "cuda"))
    here = by_python(variables)
    arm = stand_in(tmp_path, text, ("nvml", "cuda"), compiler="aarch64-linux-gnu-gcc")
    emulated = ["qemu-aarch64", "-L", CROSS, *(word for pair in arm.items() for word in ("-E", "=".join(pair)))]
    _, output = run([*emulated, f"{CROSS}/lib/ld-linux-aarch64.so.1", str(shipped), "--linked", "try"], {})
    assert replace(live_script.read(output), inside="python", python_exit=0) == here
    _, output = run([*emulated, str(shipped), "try", str(shipped)], {})
    assert live_script.read(output) == Seen(inside="program", other_c_library="none")


def test_a_machine_without_a_program_has_no_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    live_program.archive.cache_clear()
    try:
        assert live_program.archive() is None
    finally:
        live_program.archive.cache_clear()
