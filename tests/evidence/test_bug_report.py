"""A report of ``nvidia-bug-report.sh`` is many files in one: each section is taken for what it is."""

import gzip
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.evidence.source import chunks
from tests.evidence.bug_report_text import QUERY, XID_48, XID_79, nvlink, report

Command = Callable[..., subprocess.CompletedProcess[str]]
LOST = "Unable to determine the device handle for GPU1: 0000:2A:00.0: Unknown Error\n"
NOUVEAU = "ERROR: The Nouveau kernel driver is currently in use by your system."


@pytest.fixture
def judged(gpudoctor: Command, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """The findings on a report, in their order."""

    def run(text: str | bytes, name: str = "nvidia-bug-report.log") -> list[dict[str, Any]]:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        done = gpudoctor("diagnose", name, "--json", cwd=tmp_path)
        results = json.loads(done.stdout)["results"]
        return [each for each in results if each["status"] not in ("pass", "skip")]

    return run


def values(result: dict[str, Any], what: str) -> list[Any]:
    return [each["value"] for each in result["evidence"] if each["what"] == what]


def test_a_healthy_machine_is_accused_of_nothing(judged: Callable[..., list[dict[str, Any]]]) -> None:
    assert judged(report()) == []


def test_what_journal_dmesg_and_files_repeat_is_counted_once(judged: Callable[..., list[dict[str, Any]]]) -> None:
    first = judged(report(now=(XID_79,), query=LOST, links=""))[0]
    assert (first["id"], values(first, "times")) == ("gpu.xid", [1])


def test_the_section_is_named(judged: Callable[..., list[dict[str, Any]]]) -> None:
    first = judged(report(now=(XID_79,), query=LOST, links=""))[0]
    assert first["evidence"][0]["source"] == "nvidia-bug-report.log (journalctl -b -0)"


def test_a_line_of_a_command_is_placed_in_its_section(judged: Callable[..., list[dict[str, Any]]]) -> None:
    found = next(each for each in judged(report(query=LOST, links="")) if each["id"] == "gpu.not-responding")
    assert found["location"]["file"] == "nvidia-bug-report.log (nvidia-smi --query)"


def test_an_earlier_boot_is_not_this_one(judged: Callable[..., list[dict[str, Any]]]) -> None:
    assert [each["id"] for each in judged(report(before=(XID_48,)))] == []


def test_an_old_installation_is_no_trouble_of_a_driver_that_works(
    judged: Callable[..., list[dict[str, Any]]],
) -> None:
    assert judged(report(installer=NOUVEAU)) == []


def test_an_installation_tells_why_no_driver_runs(judged: Callable[..., list[dict[str, Any]]]) -> None:
    silent = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    broken = report(installer=NOUVEAU, query=silent, links="")
    begin, end = broken.index("*** /proc/driver/nvidia/version"), broken.index("*** /proc/driver/nvidia/params")
    broken = broken[:begin] + "*** /proc/driver/nvidia/version does not exist\n\n" + "_" * 44 + "\n\n" + broken[end:]
    assert "driver.nouveau-bound" in [each["id"] for each in judged(broken)]


def test_every_gpu_of_the_bus_is_counted(judged: Callable[..., list[dict[str, Any]]]) -> None:
    alone = report(query=QUERY.split("GPU 00000000:2A:00.0")[0], links=nvlink("26.562 GB/s", gpus=1))
    assert "the PCI bus shows 2 NVIDIA GPUs, NVML lists 1: missing 0000:2a:00.0" in [
        each["message"] for each in judged(alone)
    ]


def test_gzip_in_many_members_says_the_same(judged: Callable[..., list[dict[str, Any]]]) -> None:
    # The script compresses each section by itself.
    text = report(now=(XID_79,), query=LOST, links="")
    parts = ["_" * 44 + part for part in text.split("_" * 44) if part]
    packed = b"".join(gzip.compress(part.encode()) for part in parts)
    told = [(each["id"], each["message"]) for each in judged(text)]
    assert [(each["id"], each["message"]) for each in judged(packed, "nvidia-bug-report.log.gz")] == told


def test_of_a_truncated_gzip_the_beginning_is_judged(judged: Callable[..., list[dict[str, Any]]]) -> None:
    packed = gzip.compress(report(now=(XID_79,), query=LOST, links="").encode())
    found = judged(packed[: len(packed) * 3 // 4], "cut.log.gz")
    assert found[0]["id"] == "gpu.xid"
    assert any("breaks off" in each["message"] for each in found)


def test_other_boards_are_no_gpus(judged: Callable[..., list[dict[str, Any]]]) -> None:
    board = "_" * 44 + "\n\n/usr/sbin/dmidecode\n\nBase Board Information\n\tProduct Name: X13DEG-OAD\n\n"
    assert judged(report() + board) == []


def test_rulers_without_end_are_bounded(judged: Callable[..., list[dict[str, Any]]]) -> None:
    assert judged(report() + ("_" * 44 + "\n\n*** /proc/irq/1\n\n") * 20_000) == []


def test_links_that_are_down_are_seen(judged: Callable[..., list[dict[str, Any]]]) -> None:
    found = judged(report(links=nvlink("26.562 GB/s", down=2)))
    assert [each["id"] for each in found if each["status"] == "fail"] == ["gpu.nvlink-down"]


def test_a_gzip_of_a_hundred_thousand_members_is_read(judged: Callable[..., list[dict[str, Any]]]) -> None:
    packed = gzip.compress(report(now=(XID_79,), query=LOST, links="").encode()) + gzip.compress(b"x\n") * 100_000
    assert judged(packed, "many.log.gz")[0]["id"] == "gpu.xid"


@pytest.mark.parametrize("size", [1, 2, 17, 8191, 8192, 8193])
def test_members_may_end_anywhere(size: int) -> None:
    parts = [b"a" * 10 + b"\n", b"", b"b" * 60_000 + b"\n", b"c\n"]
    packed = b"".join(gzip.compress(part, mtime=0) for part in parts)
    padded = gzip.compress(b"\n" * size, 0) + packed + b"\0" * size
    text = b"".join(chunk.data for chunk in chunks(io.BytesIO(padded)))
    assert (text.count(b"a"), text.count(b"b"), text.count(b"c")) == (10, 60_000, 1)
