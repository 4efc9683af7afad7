"""Environments made by hand: records, ELF files and fat binaries as small as the formats allow."""

import json
import struct
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

Said = Callable[..., list[dict[str, Any]]]
MakeElf = Callable[..., bytes]
MakeFatbin = Callable[..., bytes]
MakeEnv = Callable[..., Path]


def fatbin(*targets: tuple[int, int, int], payload: bytes = b"\x7fELF" + bytes(60)) -> bytes:
    """One container; a target is (kind: 1 PTX or 2 SASS, architecture, flags)."""
    entries = b""
    for kind, arch, flags in targets:
        entries += struct.pack("<HHIQIIIIIIQ", kind, 0x101, 64, len(payload), 0, 0, 0x10008, arch, 0, 0, flags | 0x11)
        entries += bytes(16) + payload
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries


def elf(
    *,
    needed: Iterable[str] = (),
    soname: str | None = None,
    rpath: str | None = None,
    runpath: str | None = None,
    sections: dict[str, bytes] | None = None,
    machine: int = 0x3E,
) -> bytes:
    """A 64-bit ELF file with what the loader asks for, and sections."""
    strings, tags = bytearray(b"\0"), []

    def text(value: str) -> int:
        at = len(strings)
        strings.extend(value.encode() + b"\0")
        return at

    for name in needed:
        tags.append((1, text(name)))
    for tag, value in ((14, soname), (15, rpath), (29, runpath)):
        if value is not None:
            tags.append((tag, text(value)))
    body = bytearray(64 + 2 * 56)
    strings_at = len(body)
    tags += [(5, strings_at), (10, len(strings)), (0, 0)]
    body += strings
    dynamic_at = len(body)
    for tag, number in tags:
        body += struct.pack("<qQ", tag, number)
    names, headers = bytearray(b"\0"), [bytes(64)]
    for name, data in (sections or {}).items():
        body += bytes(-len(body) % 8)
        headers.append(struct.pack("<IIQQQQIIQQ", len(names), 1, 0, 0, len(body), len(data), 0, 0, 8, 0))
        names += name.encode() + b"\0"
        body += data
    headers.append(struct.pack("<IIQQQQIIQQ", len(names), 3, 0, 0, len(body), len(names) + 10, 0, 0, 1, 0))
    body += names + b".shstrtab\0"
    sections_at = len(body)
    body += b"".join(headers)
    struct.pack_into("<16sHHIQQQIHHHHHH", body, 0, b"\x7fELF\x02\x01\x01", 3, machine, 1, 0, 64, sections_at, 0, 64, 56,
                     2, 64, len(headers), len(headers) - 1)
    struct.pack_into("<IIQQQQQQ", body, 64, 1, 5, 0, 0, 0, len(body), len(body), 4096)
    struct.pack_into("<IIQQQQQQ", body, 120, 2, 6, dynamic_at, dynamic_at, 0, len(tags) * 16, len(tags) * 16, 8)
    return bytes(body)


@pytest.fixture
def make_fatbin() -> MakeFatbin:
    return fatbin


@pytest.fixture
def make_elf() -> MakeElf:
    return elf


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A machine whose files are those that the test writes."""
    return Root(str(tmp_path))


def write(path: Path, content: str | bytes = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def dist(site: Path, name: str, version: str, *, requires: Iterable[str] = (), files: dict[str, bytes] | None = None,
         direct_url: str | None = None) -> Path:
    """Install a distribution as pip leaves it."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {each}" for each in requires]
    write(info / "METADATA", "\n".join(lines) + "\n\nVersion: 0.0.0 is what the description says\n")
    for file, data in (files or {}).items():
        write(site / file, data)
    record = [f"{file},," for file in (files or {})] + [f"{info.name}/METADATA,,", f"{info.name}/RECORD,,"]
    write(info / "RECORD", "\n".join(record) + "\n")
    write(info / "INSTALLER", "pip\n")
    if direct_url is not None:
        write(info / "direct_url.json", direct_url)
    return info


def venv(prefix: Path, version: str = "3.12.3", *, extra: str = "", home: str = "/usr/bin") -> Path:
    """Make an environment and return its folder of packages."""
    short = ".".join(version.split(".")[:2])
    write(prefix / "pyvenv.cfg", f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n{extra}")
    write(prefix / "bin" / f"python{short}", elf()).chmod(0o755)
    site = prefix / "lib" / f"python{short}" / "site-packages"
    site.mkdir(parents=True)
    return site


def torch(site: Path, version: str = "2.8.0+cu126", cuda: str | None = "12.6", arches: str = "sm_75 sm_80 sm_90",
          **changes: Any) -> Path:
    """Install a torch whose files are as small as they may be."""
    said = f"__version__ = '{version}'\ndebug = False\ncuda: Optional[str] = {cuda!r}\n"
    said += "git_version = 'abc'\nhip: Optional[str] = None\n"
    files = {"torch/__init__.py": b"raise SystemExit('imported')\n", "torch/version.py": said.encode()}
    if cuda:
        targets = [(2, int(name[3:5]), 0) for name in arches.split() if name.startswith("sm_")]
        files["torch/lib/libtorch_python.so"] = elf(sections={".rodata": b"x\0" + arches.encode() + b"\0y"})
        files["torch/lib/libtorch_cuda.so"] = elf(
            needed=["libcublas.so.12", "libcudnn.so.9", "libc.so.6"], soname="libtorch_cuda.so",
            sections={".nv_fatbin": fatbin(*targets)}, **changes)
    return dist(site, "torch", version.partition("+")[0], files=files)


class Make:
    """What tests build machines with."""

    write = staticmethod(write)
    dist = staticmethod(dist)
    venv = staticmethod(venv)
    torch = staticmethod(torch)


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def said() -> Said:
    """Run a probe module in this process and return the lines it wrote."""

    def run(module: ModuleType, root: Root, left_out: tuple[str, ...] = (), **options: Any) -> list[dict[str, Any]]:
        with tempfile.TemporaryFile() as file:
            module.probe(Reporter(file.fileno(), left_out), root, **options)
            file.seek(0)
            return [json.loads(line) for line in file.read().splitlines()]

    return run
