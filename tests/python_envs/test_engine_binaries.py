"""Installed engines: found, versions read, libraries scanned, nothing run."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.facts.engines import Engines
from gpudoctor.probes.engine_binaries import go_version, linked_version, origin_of
from gpudoctor.probes.root import Root
from gpudoctor.probes.runner import ProbeSpec, run_probes

SPEC = ProbeSpec(name="engines", modules=("engine_binaries",), sections=("engines",), patience=5)


def take(root: Root) -> Engines:
    answer = run_probes([SPEC], root=root.prefix)[0]
    assert answer.missing == {}
    return msgspec.convert({"status": "recorded", **answer.sections["engines"]}, Engines)


def build_info(notes: str) -> bytes:
    """As cmd/link writes it since Go 1.18."""
    def text(value: bytes) -> bytes:
        length, head = len(value), bytearray()
        while length >= 0x80:
            head.append(length & 0x7F | 0x80)
            length >>= 7
        return bytes([*head, length]) + value

    return b"\xff Go buildinf:\x08\x02" + bytes(16) + text(b"go1.24.1") + text(b"0" * 16 + notes.encode() + b"1" * 16)


def test_ollama_with_its_runners(root: Root, tmp_path: Path, make: Any, make_elf: Any, make_fatbin: Any) -> None:
    notes = 'path\tgithub.com/ollama/ollama\nmod\tgithub.com/ollama/ollama\tv0.12.3\t\nbuild\t-compiler=gc\n'
    make.write(tmp_path / "usr/local/bin/ollama", make_elf(sections={".go.buildinfo": build_info(notes)})).chmod(0o755)
    lib = tmp_path / "usr/local/lib/ollama"
    make.write(lib / "cuda_v12/libggml-cuda.so", make_elf(
        needed=["libcublas.so.12", "libcudart.so.12"], sections={".nv_fatbin": make_fatbin((2, 50, 0), (1, 120, 0))}))
    make.write(lib / "cuda_v13/libggml-cuda.so", make_elf(sections={".nv_fatbin": make_fatbin((2, 75, 0))}))
    make.write(lib / "rocm/libggml-hip.so", make_elf())
    make.write(lib / "libggml-cpu-haswell.so", make_elf())
    make.write(lib / "vulkan/libggml-vulkan.so", b"cut")
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "usr/bin/ollama").symlink_to("/usr/local/bin/ollama")
    found = take(root).engines
    assert [(each.engine, each.version, each.version_source) for each in found] == [("ollama", "0.12.3", "build-info")]
    assert {(each.variant, each.backend, each.cuda, each.arch_list if each.backend == "cuda" else None)
            for each in found[0].runners} == {
        ("cuda_v12", "cuda", 12, ("sm_50", "compute_120")), ("cuda_v13", "cuda", 13, ("sm_75",)),
        ("rocm", "rocm", None, None), ("vulkan", "vulkan", None, None)}
    assert [each.failure for each in found[0].runners if each.variant == "vulkan"] == ["no library, or cut short"]


def test_ollama_without_a_version_says_none(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    make.write(tmp_path / "usr/bin/ollama", make_elf()).chmod(0o755)
    found = take(root).engines[0]
    assert (found.version, found.version_source, found.origin, found.failure) == (None, None, "distribution", None)


@pytest.mark.parametrize(
    ("notes", "version"),
    [
        ('build\t-ldflags="-w -s \\"-X=github.com/ollama/ollama/version.Version=0.11.10\\""', "0.11.10"),
        ("mod\tgithub.com/ollama/ollama\t(devel)\t\n", None),
        ("mod\tgithub.com/ollama/ollama\tv0.0.0-20250101000000-abcdef+dirty\t\n", None),
        ("dep\tgithub.com/ollama/ollama\tv0.9.0\t\n", None),
        ("x" * 100_000 + "\nmod\tgithub.com/ollama/ollama\tv0.14.0-rc1\t\n", "0.14.0-rc1"),
    ],
)
def test_go_s_notes(notes: str, version: str | None) -> None:
    assert go_version(build_info(notes)) == version


def test_a_version_that_only_the_linker_was_told(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    """-trimpath keeps the linker's flags out of the notes; the string itself stays."""
    notes = "path\tgithub.com/ollama/ollama\nmod\tgithub.com/ollama/ollama\t(devel)\t\nbuild\t-trimpath=true\n"
    strings = b"want 1.2.3 or so" + bytes(9) + b"333333\xd3\xbf0.11.10\0go1.24.1\0" + bytes(20) + b"call frame\0"
    sections = {".rodata": bytes(1 << 16) + strings, ".go.buildinfo": build_info(notes)}
    make.write(tmp_path / "usr/bin/ollama", make_elf(sections=sections)).chmod(0o755)
    found = take(root).engines[0]
    assert (found.version, found.version_source) == ("0.11.10", "linker-string")


@pytest.mark.parametrize(
    ("strings", "version"),
    [
        (b"\x000.12.3-rc1\0go1.24.1\0", "0.12.3-rc1"),
        (b"0.12.3\0go1.24.1\0" + bytes(100) + b"1.3.1\0", None),
        (b"0.12.3\0" + bytes(20_000) + b"go1.24.1\0", None),
        (b"0.0.0\0go1.24.1\0", None),
        (b"v10.12.3.4\0go1.24.1\0", None),
        (b"0.12.3\0go1.23.0\0", None),
        (b"", None),
    ],
)
def test_two_candidates_or_a_far_one_are_no_version(strings: bytes, version: str | None) -> None:
    assert linked_version(b"\xff" + strings, "go1.24.1") == version


@pytest.mark.parametrize("data", [b"", b"\xff Go buildinf:", b"\xff Go buildinf:\x08\x02" + b"\xff" * 40,
                                  b"\xff Go buildinf:\x08\x00" + bytes(64)])
def test_notes_of_another_form_are_no_version(data: bytes) -> None:
    assert go_version(data) is None


def test_llama_cpp_by_its_library_s_name(
    root: Root, tmp_path: Path, make: Any, make_elf: Any, make_fatbin: Any
) -> None:
    home = tmp_path / "root/llama.cpp/build/bin"
    make.write(tmp_path / "etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    for name in ("llama-server", "llama-cli"):
        make.write(home / name, make_elf()).chmod(0o755)
    make.write(home / "libllama.so.0.0.7240", make_elf())
    make.write(home / "libggml-cuda.so.0.9.4", make_elf(sections={".nv_fatbin": make_fatbin((2, 89, 0))}))
    (home / "libggml-cuda.so").symlink_to("libggml-cuda.so.0.9.4")
    found = take(root).of("llama.cpp")
    assert [(each.path, each.version, each.origin) for each in found] == [
        ("/root/llama.cpp/build/bin/llama-server", "b7240", "home")]
    assert [(each.backend, each.arch_list) for each in found[0].runners] == [("cuda", ("sm_89",))]


def test_a_static_program_is_looked_into_itself(root: Root, tmp_path: Path, make: Any, make_elf: Any,
                                                make_fatbin: Any) -> None:
    make.write(tmp_path / "opt/llama-b6123-bin-ubuntu/llama-server",
               make_elf(sections={".nv_fatbin": make_fatbin((2, 80, 0))})).chmod(0o755)
    found = take(root).engines[0]
    assert (found.version, found.version_source, found.arch_list) == ("b6123", "path", ("sm_80",))
    assert found.runners == ()


def test_running_engines_have_their_processes(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    make.write(tmp_path / "usr/local/bin/ollama", make_elf()).chmod(0o755)
    ollama, gone = "/usr/local/bin/ollama", "/srv/x/llama-server (deleted)"
    for pid, target in ((7, ollama), (8, ollama), (9, gone)):
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/exe").symlink_to(target)
    found = {each.path: each for each in take(root).engines}
    assert found["/usr/local/bin/ollama"].pids == (7, 8)
    assert found["/srv/x/llama-server"].failure == "the program that runs is no longer on disk"


def test_places_tell_who_installed() -> None:
    assert origin_of("/snap/ollama/current/bin/ollama") == "snap"
    assert origin_of("/home/linuxbrew/.linuxbrew/bin/ollama") == "homebrew"
