"""The storage and disk health probes: recorded mount tables, recorded tools, and a file system that never answers."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.storage import Disk
from gpudoctor.probes import disk_health, mounts, storage
from gpudoctor.probes.root import Root

Tree = Callable[[dict[str, str]], Root]
Said = Callable[..., list[dict[str, Any]]]
MOUNTS = textwrap.dedent("""\
    20 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
    30 20 0:40 / /models rw,relatime - nfs4 filer:/export rw,vers=4.2
    31 20 8:1 / /mnt/old\\040disk ro,relatime - xfs /dev/sda1 ro
    32 20 253:0 / /var/lib/docker rw - xfs /dev/mapper/vg-docker rw
    33 20 0:41 / /tmp rw - tmpfs tmpfs rw
    34 20 252:1 / /virtual rw - ext4 /dev/vda1 rw
    """)
DISKS = {
    "/proc/1/mountinfo": MOUNTS,
    "/sys/dev/block/259:2": "->../../devices/nvme0n1/nvme0n1p2",
    "/sys/dev/block/8:1": "->../../devices/sda/sda1",
    "/sys/dev/block/253:0": "->../../devices/dm-0",
    "/sys/class/block/nvme0n1": "->/sys/devices/nvme0n1",
    "/sys/class/block/nvme0n1p2": "->/sys/devices/nvme0n1/nvme0n1p2",
    "/sys/class/block/sda": "->/sys/devices/sda",
    "/sys/class/block/sda1": "->/sys/devices/sda/sda1",
    "/sys/class/block/dm-0": "->/sys/devices/dm-0",
    "/sys/class/block/vda": "->/sys/devices/vda",
    "/sys/devices/nvme0n1/nvme0n1p2/partition": "2\n",
    "/sys/devices/nvme0n1/queue/rotational": "0\n",
    "/sys/devices/sda/queue/rotational": "1\n",
    "/sys/devices/sda/device/vendor": "ATA     \n",
    "/sys/devices/sda/sda1/partition": "1\n",
    "/sys/devices/dm-0/slaves/nvme0n1/x": "",
    "/sys/devices/dm-0/slaves/sda/x": "",
    "/sys/devices/vda/queue/rotational": "1\n",
}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/x", "nvme"),
        ("/models/hub", "network"),
        ("/mnt/old disk/m", "hdd"),
        ("/var/lib/docker/overlay2", "hdd"),  # a volume over two disks is as slow as the slower
        ("/tmp/x", "memory"),
        ("/virtual", "unknown"),  # virtio says rotational whatever lies beneath
    ],
)
def test_the_class_of_a_disk_is_found_through_its_layers(tree: Tree, path: str, kind: str) -> None:
    root = tree(DISKS)
    table = mounts.read_mounts(root)
    mount = mounts.holding(table, path)
    assert mount is not None
    assert mounts.device_class(root, table, mount) == kind


def test_a_cloud_volume_that_looks_like_nvme_is_a_network_disk(tree: Tree) -> None:
    root = tree({**DISKS, "/sys/devices/nvme0n1/device/model": "Amazon Elastic Block Store\n"})
    assert mounts.block_class(root, "nvme0n1") == "network"


def test_the_later_mount_on_one_point_covers_the_earlier() -> None:
    table = mounts.parse_mountinfo("1 0 8:1 / /a rw - ext4 /dev/sda1 rw\n2 1 0:9 / /a rw - tmpfs t rw\nrubbish\n")
    found = mounts.holding(table, "/a/b")
    assert found is not None
    assert found.file_system == "tmpfs"
    assert mounts.holding(table, "/ab") is None


def test_a_recorded_tree_names_its_stores_and_no_sizes_of_ours(tree: Tree, said: Said) -> None:
    root = tree(
        {
            **DISKS,
            "/etc/docker/daemon.json": '{"data-root": "/var/lib/docker/data"}',
            "/etc/systemd/system/ollama.service.d/override.conf": '[Service]\nEnvironment="OLLAMA_MODELS=/models/o"\n',
            "/home/jane/.cache/huggingface/hub/x": "",
        }
    )
    lines = said(storage, root)
    volumes = {(v["purpose"], v["path"]): v for line in lines if (v := line.get("append"))}
    assert volumes["docker", "/var/lib/docker/data"]["mount_point"] == "/var/lib/docker"
    assert volumes["ollama-models", "/models/o"]["device_class"] == "network"
    assert volumes["huggingface-cache", "/home/jane/.cache/huggingface/hub"]["mount_point"] == "/"
    assert {v["free_bytes"]["kind"] for v in volumes.values()} == {"not-applicable"}


def test_each_volume_is_announced_before_it_is_touched(
    tree: Tree, said: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The parent then knows which one hung, and on which file system."""
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    monkeypatch.setattr(
        storage, "read_mounts", lambda root: mounts.parse_mountinfo(f"1 0 0:40 / {tmp_path} rw - nfs4 filer:/x rw\n")
    )

    def stale(path: object) -> object:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "statvfs", stale)
    lines = said(storage, Root())
    at = next(n for n, line in enumerate(lines) if line.get("start") == f"ollama-models {tmp_path}")
    assert lines[at]["placeholder"]["file_system"] == "nfs4"
    assert lines[at + 1]["append"]["failure"] == "Stale file handle"
    left = said(storage, Root(), (f"ollama-models {tmp_path}",))
    assert not any(line.get("start") == f"ollama-models {tmp_path}" for line in left)


HANG = """
import ctypes, json, os, sys
from gpudoctor.probes.runner import ProbeSpec, run_probes
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
if ctypes.CDLL(None, use_errno=True).mount(b"dead", sys.argv[1].encode(), b"fuse", 0, options):
    sys.exit(77)
os.environ["OLLAMA_MODELS"] = sys.argv[1]
answer = run_probes([ProbeSpec(name="storage", modules=("storage",), sections=("storage",), patience=2)], timeout=20)[0]
print(json.dumps([answer.outcome, answer.sections]))
"""


@pytest.mark.tier("root")
def test_a_file_system_that_never_answers_costs_itself_alone(tmp_path: Path) -> None:
    """A FUSE mount without a server blocks every statvfs, as a dead NFS server does."""
    if not Path("/dev/fuse").exists():
        pytest.skip("this kernel has no FUSE")
    point = tmp_path / "dead"
    point.mkdir()
    command = ("unshare", "-m", "--propagation", "private", sys.executable, "-c", HANG, str(point))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 77:
        pytest.skip("this root may not mount FUSE")
    outcome, sections = json.loads(done.stdout)
    assert "did not answer" in outcome
    volumes = sections["storage"]["volumes"]
    lost = [v for v in volumes if v.get("failure")]
    assert [v["path"] for v in lost] == [str(point)]
    assert lost[0]["file_system"] == "fuse"
    assert any(v["path"] == "/" and v["total_bytes"] > 0 for v in volumes)


def test_daemon_json_that_is_broken_is_the_default() -> None:
    assert storage.docker_data_root("{") is None
    assert storage.docker_data_root("[]") is None
    assert storage.docker_data_root('{"data-root": 5}') is None
    assert storage.docker_data_root('{"data-root": "/data/../d"}') == "/d"


NVME = Disk(name="nvme0n1", model="X", device_class="nvme")


def test_smartctl_on_nvme() -> None:
    text = json.dumps(
        {
            "model_name": "SAMSUNG MZQL2",
            "smart_status": {"passed": False},
            "nvme_smart_health_information_log": {"critical_warning": 4, "percentage_used": 101},
        }
    )
    disk = disk_health.parse_smartctl(NVME, text, 8)
    assert (disk.model, disk.critical_warning) == ("SAMSUNG MZQL2", 4)
    assert (disk.smart_passed, disk.percentage_used) == (False, 101)


def test_smartctl_that_may_not_open_the_disk() -> None:
    text = '{"smartctl": {"messages": [{"string": "Smartctl open device: /dev/sda failed: Permission denied"}]}}'
    disk = disk_health.parse_smartctl(Disk(name="sda"), text, 2)
    assert isinstance(disk.smart_passed, Unavailable)
    assert disk.smart_passed.kind == "no-permission"


RUBBISH = ("", "[]", "{", '{"smartctl": 3}', '{"smart_status": []}', '{"smartctl": {"messages": 1}}')


@pytest.mark.parametrize("text", RUBBISH)
def test_rubbish_of_smartctl_is_no_verdict(text: str) -> None:
    assert isinstance(disk_health.parse_smartctl(NVME, text, 0).smart_passed, Unavailable)


@pytest.mark.parametrize("warning", ['{"critical_warning": 1}', '{"critical_warning": {"value": 1}}'])
def test_nvme_cli_old_and_new(warning: str) -> None:
    assert disk_health.parse_nvme(NVME, warning, 0, "").critical_warning == 1


def test_no_physical_disk_is_not_applicable(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Root, "list", lambda self, name: ["vda", "loop0", "zram0", "dm-0"])
    assert said(disk_health, Root())[0]["kind"] == "not-applicable"
