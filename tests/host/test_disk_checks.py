"""The disk checks: each file system once, and nothing said that is not known."""

from typing import Any

import msgspec
import pytest

from gpudoctor.checking.finding import Result
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.storage import Disk, DiskHealth, Storage, Volume
from gpudoctor.testing import judge_check

GB = 10**9
ROOT = Volume(
    purpose="root", path="/", mount_point="/", file_system="ext4", device="/dev/nvme0n1p2", device_class="nvme",
    total_bytes=1000 * GB, free_bytes=500 * GB, inodes_total=1000, inodes_free=900,
)
STORE = msgspec.structs.replace(ROOT, purpose="ollama-models", path="/usr/share/ollama/.ollama/models")


def judge(check: str, *volumes: Volume) -> list[Result]:
    return judge_check(f"host.{check}", storage=Storage(volumes=volumes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "pass"),
        ({"free_bytes": 99 * GB}, "warn"),
        ({"free_bytes": 1_000_000}, "fail"),
        ({"free_bytes": 0}, "fail"),
        ({"inodes_free": 0}, "fail"),
        ({"inodes_free": 10}, "warn"),
        ({"inodes_free": Unavailable("btrfs", "not-supported")}, "pass"),
        # A small volume with most of its room free is small, not full.
        ({"total_bytes": 64_000_000, "free_bytes": 60_000_000}, "pass"),
        ({"total_bytes": 0, "free_bytes": 0}, "skip"),
        ({"failure": "did not answer within 4 s in statvfs"}, "unknown"),
        ({"free_bytes": Unavailable("not in the record", "not-applicable")}, "skip"),
        ({"free_bytes": Unavailable("no permission", "no-permission")}, "unknown"),
    ],
)
def test_room(changes: dict[str, Any], expected: str) -> None:
    assert [r.status for r in judge("disk-short", msgspec.structs.replace(ROOT, **changes))] == [expected]


def test_one_file_system_is_named_once_with_all_it_holds() -> None:
    full = {"free_bytes": 50 * GB}
    docker = msgspec.structs.replace(ROOT, purpose="docker", path="/var/lib/docker", **full)
    store = msgspec.structs.replace(STORE, **full)
    (result,) = judge("disk-short", msgspec.structs.replace(ROOT, **full), docker, store)
    assert result.finding.params["holds"] == ("root", "docker", "ollama-models")
    assert result.subject == "volume:/"
    assert any("volume of their own" in step.text for step in result.finding.fix)


def test_a_hung_server_hides_no_other_volume() -> None:
    dead = Volume(purpose="models", path="/models", mount_point="/models", file_system="nfs4", device="filer:/x",
                  device_class="network", failure="did not answer within 4 s in statvfs")
    results = judge("disk-short", ROOT, dead)
    assert [(r.subject, r.status) for r in results] == [("volume:/", "pass"), ("volume:/models", "unknown")]


@pytest.mark.parametrize(
    ("purpose", "device_class", "expected"),
    [
        ("root", "nvme", "skip"),  # image-based systems
        ("ollama-models", "nvme", "warn"),
        ("models", "network", "info"),
        ("docker", "ssd", "warn"),
    ],
)
def test_read_only(purpose: str, device_class: str, expected: str) -> None:
    volume = msgspec.structs.replace(ROOT, purpose=purpose, device_class=device_class, read_only=True, free_bytes=0)
    assert [r.status for r in judge("disk-short", volume)] == [expected]


@pytest.mark.parametrize(
    ("device_class", "expected"),
    [("nvme", "pass"), ("ssd", "pass"), ("hdd", "warn"), ("network", "info"), ("memory", "info"), ("unknown", "skip")],
)
def test_speed_by_class(device_class: str, expected: str) -> None:
    (result,) = judge("disk-slow", msgspec.structs.replace(STORE, device_class=device_class))
    assert result.status == expected


def test_load_time_is_size_over_speed() -> None:
    (result,) = judge("disk-slow", msgspec.structs.replace(STORE, device_class="hdd"))
    assert result.finding.params["seconds"] == 200


def test_the_system_disk_alone_is_no_model_store() -> None:
    assert [r.status for r in judge("disk-slow", msgspec.structs.replace(ROOT, device_class="hdd"))] == ["skip"]


HEALTHY = Disk(name="nvme0n1", model="X", device_class="nvme", critical_warning=0, smart_passed=True, percentage_used=3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "pass"),
        ({"critical_warning": 0x01}, "fail"),
        ({"critical_warning": 0x02}, "warn"),
        ({"critical_warning": 0x06}, "fail"),
        ({"smart_passed": False}, "fail"),
        ({"percentage_used": 100}, "warn"),
        ({"critical_warning": Unavailable("sata", "not-supported")}, "pass"),
        ({"failure": "did not answer within 5 s"}, "unknown"),
    ],
)
def test_disk_health(changes: dict[str, Any], expected: str) -> None:
    disks = DiskHealth(disks=(msgspec.structs.replace(HEALTHY, **changes),))
    assert [r.status for r in judge_check("host.disk-failing", disk_health=disks)] == [expected]


@pytest.mark.parametrize(("kind", "expected"), [("no-permission", "unknown"), ("not-supported", "skip")])
def test_a_disk_without_a_verdict_is_not_called_well(kind: Any, expected: str) -> None:
    gap = Unavailable("it said nothing", kind)
    silent = Disk(name="sda", critical_warning=Unavailable("not NVMe", "not-supported"), smart_passed=gap)
    (result,) = judge_check("host.disk-failing", disk_health=DiskHealth(disks=(silent,)))
    assert (result.status, result.finding.params["reason"]) == (expected, "it said nothing")


def test_a_machine_without_disks_of_its_own_is_skipped() -> None:
    assert [r.status for r in judge_check("host.disk-failing", disk_health=DiskHealth())] == ["skip"]
