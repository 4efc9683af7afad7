"""The scan of fat binaries: made by hand, broken, large, and from a real wheel."""

import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.matrices.cuda_arch import coverage
from gpudoctor.probes import fatbin
from gpudoctor.probes.fatbin import FatbinTimeout, Scan, scan
from gpudoctor.probes.regular_file import open_regular
from gpudoctor.probes.root import Root

EXACT, FAMILY, COMPRESSED = 0x100000, 0x200000, 0x8000


def scanned(path: Path, data: bytes | None = None) -> Scan:
    if data is not None:
        path.write_bytes(data)
    with open_regular(Root(), str(path)) as file:
        return scan(file)


def test_every_kind_of_target_has_its_name(tmp_path: Path, make_fatbin: Any) -> None:
    data = make_fatbin((2, 75, 0), (2, 90, EXACT), (2, 100, FAMILY), (2, 120, COMPRESSED), (1, 120, COMPRESSED),
                       (1, 90, EXACT))
    assert scanned(tmp_path / "one", data).arch_list == (
        "sm_75", "sm_90a", "sm_100f", "sm_120", "compute_90a", "compute_120")


def test_the_names_are_those_that_the_rule_of_coverage_reads(tmp_path: Path, make_fatbin: Any) -> None:
    names = scanned(tmp_path / "one", make_fatbin((2, 80, 0), (1, 90, 0), (2, 90, EXACT))).arch_list
    assert coverage(names, (8, 6)) == "native"
    assert coverage(names, (9, 0)) == "native"
    assert coverage(names, (12, 0)) == "ptx"
    assert coverage(names, (7, 5)) == "none"


def test_only_the_section_counts_where_there_is_one(tmp_path: Path, make_fatbin: Any, make_elf: Any) -> None:
    data = make_elf(sections={".rodata": make_fatbin((2, 50, 0)), ".nv_fatbin": make_fatbin((2, 80, 0))})
    assert scanned(tmp_path / "lib.so", data).arch_list == ("sm_80",)


def test_targets_of_single_kernels_are_kept_apart(tmp_path: Path, make_fatbin: Any) -> None:
    """As in vLLM's _C: an object compiled for the default target of nvcc must not make a Maxwell GPU supported."""
    usual, odd = make_fatbin((2, 70, 0), (2, 80, 0)), make_fatbin((2, 52, 0), (1, 52, 0))
    found = scanned(tmp_path / "one", usual * 20 + odd)
    assert (found.arch_list, found.few) == (("sm_70", "sm_80"), ("sm_52", "compute_52"))
    assert scanned(tmp_path / "two", usual * 5 + odd).few == ()


def test_without_the_section_the_whole_file_is_read(tmp_path: Path, make_fatbin: Any, make_elf: Any) -> None:
    data = make_elf(sections={".rodata": bytes(3 << 20) + make_fatbin((2, 86, 0))})
    assert scanned(tmp_path / "lib.so", data).arch_list == ("sm_86",)
    assert scanned(tmp_path / "none.so", make_elf(sections={".rodata": bytes(3 << 20)})) == Scan((), (), 0, 0, 0)


def test_containers_with_gaps_between_them_are_all_found(tmp_path: Path, make_fatbin: Any) -> None:
    parts = [make_fatbin((2, arch, 0)) for arch in (70, 75, 80)]
    for gap in (0, 8, 4096, 2 << 20):
        data = b"".join(part + bytes(-len(part) % 8) + bytes(gap) for part in parts)
        assert scanned(tmp_path / "gaps", data).arch_list == ("sm_70", "sm_75", "sm_80")


@pytest.mark.parametrize("cut", [1, 5, 15, 17, 40, 79, 100, 200])
def test_a_file_cut_short_gives_what_is_whole(tmp_path: Path, make_fatbin: Any, cut: int) -> None:
    whole = make_fatbin((2, 80, 0))
    found = scanned(tmp_path / "cut", whole + make_fatbin((2, 90, 0), (2, 100, 0))[:cut])
    assert found.arch_list == ("sm_80",)
    assert found.damaged <= 1


def test_nonsense_in_a_header_is_stepped_over(tmp_path: Path, make_fatbin: Any) -> None:
    good = make_fatbin((2, 80, 0))
    for version, header, length in ((0, 16, 8), (1, 8, 8), (1, 65535, 8), (1, 16, 2**63), (9, 16, 80)):
        bad = struct.pack("<IHHQ", 0xBA55ED50, version, header, length) + bytes(72)
        assert scanned(tmp_path / "bad", bad + good).arch_list == ("sm_80",)
    entry = bytearray(make_fatbin((2, 90, 0)))
    struct.pack_into("<Q", entry, 16 + 8, 2**60)
    assert scanned(tmp_path / "bad", bytes(entry) + bytes(-len(entry) % 8) + good).arch_list == ("sm_80",)


def test_a_magic_at_every_place_ends(tmp_path: Path) -> None:
    data = (fatbin.MAGIC + bytes(4)) * 50_000
    assert scanned(tmp_path / "magic", data).arch_list == ()


def test_random_bytes_never_raise(tmp_path: Path, make_fatbin: Any) -> None:
    import random

    chance = random.Random(4)
    good = make_fatbin((2, 75, 0), (2, 80, 0), (1, 90, 0)) * 3
    for _ in range(300):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 30)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        scanned(tmp_path / "random", bytes(data))


def test_time_that_is_over_is_said_not_guessed(tmp_path: Path, make_fatbin: Any) -> None:
    path = tmp_path / "long"
    path.write_bytes(make_fatbin((2, 80, 0)) + make_fatbin((2, 90, 0)))
    with open_regular(Root(), str(path)) as file, pytest.raises(FatbinTimeout, match="of it was looked at"):
        scan(file, seconds=-1)


def test_a_sparse_file_of_ten_gigabytes_costs_its_headers_only(tmp_path: Path, make_elf: Any) -> None:
    """The payload is stepped over: what is read does not grow with it."""
    payload = 10 << 30
    entry = struct.pack("<HHIQIIIIIIQ", 2, 0x101, 64, payload, 0, 0, 0, 80, 0, 0, 0x11) + bytes(16)
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(struct.pack("<IHHQ", 0xBA55ED50, 1, 16, payload + 64) + entry)
        try:
            file.truncate(payload + 80)
        except OSError:
            pytest.skip("no sparse files here")
    assert scanned(path) == Scan(("sm_80",), (), 1, 1, 0)


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    with pytest.raises(OSError, match="no regular file"):
        scanned(path)


@pytest.mark.tier("install")
def test_a_real_wheel_with_machine_code(tmp_path: Path) -> None:
    """What NVIDIA's own tools wrote; cuobjdump 13 (-lelf, -lptx) lists the same for this release."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--platform",
         "manylinux2014_x86_64", "-d", str(tmp_path), "nvidia-nvjpeg-cu12==12.4.0.76"], check=True, timeout=300)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extract("nvidia/nvjpeg/lib/libnvjpeg.so.12", tmp_path)
    found = scanned(tmp_path / "nvidia" / "nvjpeg" / "lib" / "libnvjpeg.so.12")
    assert found.arch_list == ("sm_50", "sm_52", "sm_60", "sm_61", "sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90",
                               "sm_100", "sm_101", "sm_103", "sm_120", "sm_121", "compute_121")
    assert found.damaged == 0
    assert found.containers == 11
