"""The driver probe on recorded trees: files in, facts out."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.probes import driver, driver_libraries
from gpudoctor.probes.driver import lockdown, parse_flavour, parse_information, parse_version, permits
from gpudoctor.probes.kernel_modules import parse_blacklist, release_key
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root
from gpudoctor.probes.take import take_snapshot

KERNEL, NEXT = "5.15.0-160-generic", "5.15.0-171-generic"
PROPRIETARY = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.247.01  Thu Mar 20 23:06:01 UTC 2025\n"
OPEN = ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22)  "
        "Tue Sep 23 10:11:16 UTC 2025\nGCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n")
ELF_64 = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x03\0\x3e\0" + b"\0" * 40
ELF_32 = b"\x7fELF\x01\x01\x01" + b"\0" * 9 + b"\x03\0\x03\0" + b"\0" * 40

def one_entry(name: str, path: str) -> bytes:
    """A loader cache of one 64-bit library."""
    header = struct.pack("<20sIIB3xI12x", b"glibc-ld.so.cache1.1", 1, len(name) + len(path) + 2, 2, 0)
    return header + struct.pack("<iIIIQ", 0x0303, 72, 73 + len(name), 0, 0) + f"{name}\0{path}\0".encode()


Tree = Callable[[dict[str, str | bytes]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Write files below an empty root; ``-> target`` makes a link."""

    def write(files: dict[str, str | bytes]) -> Path:
        for name, content in {"proc/version": "Linux", "sys/module/x/y": "", "sys/firmware/z": "", **files}.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content.startswith("-> "):
                path.symlink_to(content[3:])
            else:
                path.write_text(content)
        return tmp_path

    return write


def read(root: Path) -> Driver:
    section = snapshot(root).driver
    assert isinstance(section, Driver), section
    return section


def snapshot(root: Path) -> Snapshot:
    return take_snapshot(root=str(root), sections={"driver"}, timeout=30)


def test_a_whole_server(tree: Tree) -> None:
    lib = "/usr/lib/x86_64-linux-gnu"
    facts = read(tree({
        "sys/module/nvidia/version": "535.247.01\n",
        "proc/driver/nvidia/version": PROPRIETARY,
        "proc/driver/nvidia/gpus/0000:1a:00.0/information": "Model: \t\t Quadro RTX 8000\nDevice Minor: \t 0\n",
        "proc/modules": "nvidia 56823808 1 nvidia_uvm, Live 0x0\n",
        "proc/sys/kernel/osrelease": KERNEL,
        f"lib/modules/{KERNEL}/updates/dkms/nvidia.ko.zst": "",
        f"lib/modules/{KERNEL}/updates/dkms/nvidia-uvm.ko.zst": "",
        f"lib/modules/{KERNEL}/build": f"-> /usr/src/linux-headers-{KERNEL}",
        f"usr/src/linux-headers-{KERNEL}/Makefile": "",
        f"boot/vmlinuz-{KERNEL}": "", f"boot/vmlinuz-{NEXT}": "", "boot/vmlinuz": f"-> vmlinuz-{NEXT}",
        "boot/vmlinuz-0-rescue-0123": "", f"boot/vmlinuz-{NEXT}+debug": "", f"boot/vmlinuz-{NEXT}.old": "",
        "var/lib/dkms/nvidia/535.247.01/source": "-> /usr/src/nvidia-535.247.01",
        f"var/lib/dkms/nvidia/535.247.01/{KERNEL}/x86_64/module/nvidia.ko": "",
        "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\x06\0\0\0\x01",
        "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
        "etc/ld.so.cache": one_entry("libnvidia-ml.so.1", f"{lib}/libnvidia-ml.so.1"),
        f"{lib}/libnvidia-ml.so.1": "-> libnvidia-ml.so.535.247.01",
        f"{lib}/libnvidia-ml.so.535.247.01": ELF_64,
        "etc/modprobe.d/nouveau.conf": "blacklist nouveau # NVIDIA's\n",
    }))
    assert facts.loaded_version == "535.247.01"
    assert facts.loaded_flavour == "proprietary"
    assert facts.nouveau_loaded is False
    assert isinstance(facts.modules, tuple)
    assert [(m.kernel, m.path) for m in facts.modules] == [
        (KERNEL, f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko.zst")]
    assert isinstance(facts.kernels, tuple)
    assert [(k.release, k.headers, k.running, k.newest) for k in facts.kernels] == [
        (KERNEL, True, True, False), (NEXT, False, False, True)]
    assert [(b.version, b.kernel) for b in facts.dkms] == [("535.247.01", KERNEL)]
    assert (facts.secure_boot, facts.lockdown) == ("on", "integrity")
    assert isinstance(facts.libraries, tuple)
    [library] = facts.libraries
    assert (library.origin, library.version, library.real_path) == (
        "loader-cache", "535.247.01", f"{lib}/libnvidia-ml.so.535.247.01")
    assert [(g.address, g.minor, g.model) for g in facts.proc_gpus] == [("0000:1a:00.0", 0, "Quadro RTX 8000")]
    assert facts.blacklisted == ("nouveau",)
    assert facts.wsl_libcuda is False


def test_nothing_of_nvidia_is_a_fact_and_not_a_failure(tree: Tree) -> None:
    facts = read(tree({"proc/modules": "ext4 1 0 - Live 0x0\n"}))
    assert facts.loaded_version is None
    assert facts.loaded_flavour is None
    assert facts.nouveau_loaded is False
    assert facts.modules == ()
    assert facts.libraries == ()
    assert facts.secure_boot == "legacy"


def test_without_proc_modules_nouveau_is_not_known_to_be_absent(tree: Tree) -> None:
    assert isinstance(read(tree({})).nouveau_loaded, Unavailable)
    assert read(tree({"sys/module/nouveau/refcnt": "0"})).nouveau_loaded is True


def test_a_tree_without_proc_and_sys_says_nothing(tmp_path: Path) -> None:
    missing = snapshot(tmp_path).driver
    assert isinstance(missing, Unavailable)
    assert not missing.harmless


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({"sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\x06\0\0\0\0"}, "off"),
        ({"sys/firmware/efi/efivars/Boot0000-x": b"1"}, "off"),
        ({"sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": b"\x06\0\0\0\1",
          "sys/firmware/efi/efivars/MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23": b"\x06\0\0\0\1"}, "off"),
    ],
    ids=["off", "firmware without it", "shim validates nothing"],
)
def test_secure_boot(tree: Tree, files: dict[str, str | bytes], state: str) -> None:
    assert read(tree(files)).secure_boot == state


def test_secure_boot_of_unmounted_variables_is_not_known(tree: Tree) -> None:
    root = tree({"sys/firmware/efi/fw_platform_size": "64"})
    assert isinstance(read(root).secure_boot, Unavailable)


def test_links_stay_inside_the_root(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "version").write_text("666.66.66\n")
    facts = read(tree({
        "sys/module/nvidia/version": f"-> {outside}/version",
        "boot/vmlinuz-9.9.9": "", "lib/modules/9.9.9/build": f"-> {'../' * 30}{outside}",
        "etc/modprobe.d/loop.conf": "-> loop.conf",
    }))
    assert isinstance(facts.loaded_version, Unavailable), "a module is there, and its version lies outside"
    assert isinstance(facts.kernels, tuple)
    assert not facts.kernels[0].headers


def test_folders_in_a_circle_end(tree: Tree) -> None:
    root = tree({f"lib/modules/{KERNEL}/extra/nvidia/nvidia.ko.xz": ""})
    (root / f"lib/modules/{KERNEL}/extra/again").symlink_to("../extra")
    facts = read(root)
    assert isinstance(facts.modules, tuple)
    assert len(facts.modules) == 1


def test_a_huge_cache_is_refused(tree: Tree) -> None:
    root = tree({"etc/ld.so.cache": b""})
    os.truncate(root / "etc/ld.so.cache", 1 << 31)
    assert isinstance(read(root).libraries, Unavailable)


def test_a_broken_cache_is_not_an_empty_one(tree: Tree) -> None:
    facts = read(tree({"etc/ld.so.cache": b"\0" * 200}))
    assert isinstance(facts.libraries, Unavailable)
    assert isinstance(facts.wsl_libcuda, Unavailable)
    assert facts.loaded_version is None, "the rest of the section is there"


def test_files_that_may_not_be_read_are_no_permission(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(self: Root, name: str, limit: int = 0) -> bytes | None:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(Root, "read_bytes", refuse)
    cache_facts = driver_libraries.read_cache(Root(str(tmp_path)))
    assert isinstance(cache_facts, Unavailable)
    assert cache_facts.kind == "no-permission"
    assert lockdown(Root(str(tmp_path))) is None


def test_library_path_comes_first_and_foreign_copies_do_not_count(tmp_path: Path) -> None:
    for name, content in (("opt/a", ELF_32), ("opt/b", b"no library"), ("opt/c", ELF_64), ("opt/cuda/stubs", ELF_64)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "libcuda.so.1").write_bytes(content)
    found = driver_libraries.read_libraries(
        Root(str(tmp_path)), driver_libraries.Cache(()), "relative::/opt/a:/opt/b:/opt/cuda/stubs:/opt/c")
    assert isinstance(found, tuple)
    assert [(lib.path, lib.stub) for lib in found] == [
        ("/opt/cuda/stubs/libcuda.so.1", True), ("/opt/c/libcuda.so.1", False)]


def test_a_folder_that_hung_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "nfs").mkdir()
    (tmp_path / "nfs/libcuda.so.1").write_bytes(ELF_64)
    found = driver_libraries.read_libraries(Root(str(tmp_path)), driver_libraries.Cache(()), "/nfs", skip=("/nfs",))
    assert found == ()


def test_version_and_flavour_of_both_kinds() -> None:
    assert (parse_version(PROPRIETARY), parse_flavour(PROPRIETARY)) == ("535.247.01", "proprietary")
    assert (parse_version(OPEN), parse_flavour(OPEN)) == ("580.95.05", "open")
    assert (parse_version("nonsense"), parse_flavour("")) == (None, None)


def test_access_by_mode_as_the_kernel_decides_it() -> None:
    assert permits(0o666, 0, 0, 1000, {1000})
    assert permits(0o660, 0, 44, 1000, {44})
    assert not permits(0o660, 0, 44, 1000, {1000})
    assert not permits(0o606, 0, 44, 1000, {44}), "the group's bits count for its members, not the others'"
    assert permits(0o000, 0, 0, 0, {0}), "root"


def test_kernels_sort_by_number() -> None:
    names = ["6.8.0-9-generic", "6.8.0-100-generic", "5.15.0-160-generic", "5.14.0-427.13.1.el9_4.x86_64",
             "5.14.0-427.el9.x86_64"]
    assert sorted(names, key=release_key) == [names[4], names[3], names[2], names[0], names[1]]


def test_blacklists() -> None:
    text = "# blacklist nvidia\nblacklist nouveau\ninstall nvidia-drm /bin/false\nblacklist pcspkr\ninstall nvidia /x"
    assert list(parse_blacklist(text)) == ["nouveau", "nvidia_drm"]


def test_information_without_a_number() -> None:
    assert parse_information("0000:1A:00.0", "Device Minor: \t ???\n").minor is None


def test_a_folder_on_a_file_server_is_a_step_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def on_server(*_: object) -> str:
        return "network"

    monkeypatch.setattr(driver, "holding", lambda *_: object())
    monkeypatch.setattr(driver, "device_class", on_server)
    reading, writing = os.pipe()
    out = Reporter(writing, left_out=["LD_LIBRARY_PATH folder /dead"])
    assert driver._try_folders(out, Root(str(tmp_path)), "/dead:/alive") == ("/dead",)
    os.close(writing)
    with os.fdopen(reading) as lines:
        assert [json.loads(line)["start"] for line in lines] == ["LD_LIBRARY_PATH folder /alive"]
