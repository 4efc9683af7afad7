"""How long the probe of Python environments takes beside ``pip list``, and how fast fat binaries are scanned.

Usage: python_envs_speed.py [--rounds N] [--file LIBRARY]; exits 1 above a limit. Ten environments of 150 packages each
are made in a folder that is thrown away, with a torch and a vLLM whose records are as long as the real ones; the probe
reads all of them, in its child process, while pip lists one. The scan is measured on files in memory's page cache:
one with fat binaries in their section, as compilers write it, and one without, which must be read whole, beside a plain
read of the same file. --file names a real library to scan, too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

from gpudoctor.probes.fatbin import scan
from gpudoctor.probes.regular_file import open_regular
from gpudoctor.probes.root import Root
from gpudoctor.probes.runner import ProbeSpec, run_probes

ENVIRONMENTS, PACKAGES = 10, 150
PROBE_LIMIT = 3.0
SECTION_LIMIT_GB_PER_SECOND = 2.0
#: A file without the section is read whole: of the speed of a plain read from memory, this much must be left.
WHOLE_LIMIT = 0.1
SPEC = ProbeSpec(name="python envs", modules=("python_envs",), sections=("python_envs",), patience=30)


def install(site: Path, name: str, version: str, files: int) -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    needs = "".join(f"Requires-Dist: package{n}>=1\n" for n in range(30))
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}\n" + "A long description.\n" * 500
    (info / "METADATA").write_text(text)
    (info / "INSTALLER").write_text("pip\n")
    lines = [f"{name}/module{n}.py,sha256=0123456789abcdef0123456789abcdef0123456789a,1234\n" for n in range(files)]
    (info / "RECORD").write_text("".join(lines))
    (site / name).mkdir(exist_ok=True)
    (site / name / "__init__.py").write_text("")


def make_machine(folder: Path) -> Path:
    """Make the environments and return the first one's folder."""
    first = folder / "opt/env0"
    venv.create(first, with_pip=True, symlinks=True)
    site = next(first.glob("lib/python3*/site-packages"))
    for number in range(PACKAGES):
        install(site, f"package{number}", "1.0", 60)
    install(site, "torch", "2.8.0", 12_000)
    (site / "torch/version.py").write_text("__version__ = '2.8.0+cpu'\ncuda = None\nhip = None\n")
    install(site, "vllm", "0.10.1", 3_000)
    for number in range(1, ENVIRONMENTS):
        shutil.copytree(first, folder / f"opt/env{number}", symlinks=True)
    return first


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def probe_ratio(folder: Path, rounds: int) -> float:
    first = make_machine(folder)

    def ours() -> None:
        answer = run_probes([SPEC], root=str(folder))[0]
        found = answer.sections["python_envs"]["environments"]
        assert len(found) == ENVIRONMENTS, answer
        assert all(each["package_count"] > PACKAGES and each["torch"] for each in found), answer

    def pip() -> None:
        subprocess.run([str(first / "bin/python"), "-m", "pip", "list", "--disable-pip-version-check"], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    ours()
    pip()
    # In turns, so that a busy moment of the machine meets both.
    times = [(seconds(ours), seconds(pip)) for _ in range(rounds)]
    our_time, pip_time = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"probe, {ENVIRONMENTS} environments  {our_time:.3f} s (median of {rounds})")
    print(f"pip list, one of them   {pip_time:.3f} s")
    return float(our_time / pip_time)


def fat_section(size: int) -> bytes:
    """Containers as torch has them: a few architectures each, some ten kilobytes of code for each."""
    code = os.urandom(30_000)
    entries = b"".join(
        struct.pack("<HHIQIIIIIIQ", 2, 0x101, 64, len(code), 0, 0, 0x10008, arch, 0, 0, 0x11) + bytes(16) + code
        for arch in (75, 80, 86, 90, 100, 120))
    container = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries
    return container * (size // len(container))


def library(path: Path, section: str, data: bytes) -> Path:
    """Write an ELF file with one section."""
    names = b"\0" + section.encode() + b"\0.shstrtab\0"
    at = 64 + len(data)
    headers = bytes(64)
    headers += struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, 64, len(data), 0, 0, 8, 0)
    headers += struct.pack("<IIQQQQIIQQ", 2 + len(section), 3, 0, 0, at, len(names), 0, 0, 1, 0)
    mark, table = b"\x7fELF\x02\x01\x01", at + len(names)
    head = struct.pack("<16sHHIQQQIHHHHHH", mark, 3, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)
    path.write_bytes(head + data + names + headers)
    return path


def plain_read(path: Path) -> None:
    buffer = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def scan_file(path: Path) -> tuple[str, ...]:
    with open_regular(Root(), str(path)) as file:
        return scan(file, seconds=600).arch_list


def best(call: Callable[[], object], rounds: int) -> float:
    return min(seconds(call) for _ in range(rounds))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--file", type=Path, help="a real library to scan, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ratio = probe_ratio(folder / "machine", options.rounds)
        print(f"ratio                   {ratio:.2f} (limit {PROBE_LIMIT})")
        size = 256 << 20
        code = library(folder / "code.so", ".nv_fatbin", fat_section(size))
        none = library(folder / "none.so", ".rodata", os.urandom(size))
        assert scan_file(code) == ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
        assert scan_file(none) == ()
        plain_read(none)
        speed = code.stat().st_size / best(lambda: scan_file(code), options.rounds) / 1e9
        whole = none.stat().st_size / best(lambda: scan_file(none), options.rounds) / 1e9
        read = none.stat().st_size / best(lambda: plain_read(none), options.rounds) / 1e9
        print(f"scan of a section       {speed:.1f} GB/s (limit {SECTION_LIMIT_GB_PER_SECOND})")
        print(f"scan of a whole file    {whole:.1f} GB/s: {whole / read:.2f} of a plain read (limit {WHOLE_LIMIT})")
        if options.file is not None:
            scan_file(options.file)
            taken = best(lambda: scan_file(options.file), options.rounds)
            print(f"{options.file.name}: {options.file.stat().st_size / taken / 1e9:.1f} GB/s")
            print(*scan_file(options.file))
    well = ratio <= PROBE_LIMIT and speed >= SECTION_LIMIT_GB_PER_SECOND and whole / read >= WHOLE_LIMIT
    print("ok" if well else "TOO SLOW")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
