"""The PCI probe on recorded trees."""

import struct
from pathlib import Path

import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.pci import Pci
from gpudoctor.probes import pci
from gpudoctor.probes.root import Root
from gpudoctor.probes.take import take_snapshot

GPU, BRIDGE = "0000:1a:00.0", "0000:16:02.0"
RESOURCE = """0x00000000f4000000 0x00000000f4ffffff 0x0000000000040200
0x000003ffe0000000 0x000003ffefffffff 0x000000000014220c
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x000003fff0000000 0x000003fff1ffffff 0x000000000014220c
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000003000 0x000000000000307f 0x0000000000040101
0x00000000f5000000 0x00000000f507ffff 0x0000000000046200
"""


def device(root: Path, address: str = GPU, bridge: str = BRIDGE, **files: str | bytes) -> Path:
    """One device below a bridge, as sysfs lays it out."""
    folder = root / f"sys/devices/pci0000:16/{bridge}/{address}"
    folder.mkdir(parents=True)
    for link, target in ((address, folder), (bridge, folder.parent)):
        place = root / "sys/bus/pci/devices" / link
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_symlink():
            place.symlink_to(f"../../../devices/{target.relative_to(root / 'sys/devices')}")
    plain = {"vendor": "0x10de\n", "device": "0x1e30\n", "class": "0x030000\n", "numa_node": "-1\n"}
    for name, content in {**plain, **files}.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(root: Path) -> Pci:
    section = take_snapshot(root=str(root), sections={"pci"}, timeout=30).pci
    assert isinstance(section, Pci), section
    return section


def acs(control: int, *, first: int = 0x0001, size: int = 4096) -> bytes:
    """A configuration space with a first capability at 0x100 and ACS after it."""
    data = bytearray(size)
    struct.pack_into("<I", data, 0x100, 0x140 << 20 | 1 << 16 | first)
    struct.pack_into("<IHH", data, 0x140, 1 << 16 | 0x000D, 0x7F, control)
    return bytes(data)


def test_a_card_with_everything(tmp_path: Path) -> None:
    folder = device(
        tmp_path, current_link_speed="2.5 GT/s PCIe\n", max_link_speed="8.0 GT/s PCIe\n", current_link_width="4\n",
        max_link_width="16\n", numa_node="1\n", resource=RESOURCE, subsystem_vendor="0x10de\n",
        subsystem_device="0x129e\n")
    (folder / "driver").symlink_to("../../../../bus/pci/drivers/nvidia")
    (folder / "iommu_group").symlink_to("../../../../kernel/iommu_groups/7")
    group = tmp_path / "sys/kernel/iommu_groups/7/type"
    group.parent.mkdir(parents=True)
    group.write_text("DMA-FQ\n")
    (folder.parent / "config").write_bytes(acs(0b11101))
    section = read(tmp_path)
    [card] = section.nvidia_gpus
    assert (card.address, card.device, card.driver, card.numa_node) == (GPU, "1e30", "nvidia", 1)
    assert (card.link_speed_gts, card.max_link_speed_gts, card.link_width, card.max_link_width) == (2.5, 8.0, 4, 16)
    assert card.bar_bytes == (16 << 20, 256 << 20, 32 << 20), "neither the I/O ports nor the ROM"
    assert card.upstream == (BRIDGE,)
    assert card.iommu_group_type == "DMA-FQ"
    assert section.iommu == "translated"
    assert [(b.address, b.acs_redirect) for b in section.bridges] == [(BRIDGE, True)]


def test_only_gpus_and_switches_are_kept(tmp_path: Path) -> None:
    device(tmp_path, "0000:1a:00.1", **{"class": "0x040300\n"})
    device(tmp_path, "0000:1b:00.0", **{"class": "0x068000\n", "device": "0x22a3\n"})
    device(tmp_path, "0000:1c:00.0", **{"class": "0x120000\n", "vendor": "0x1002\n", "device": "0x74a1\n"})
    device(tmp_path, "0000:1d:00.0", **{"class": "0x020000\n", "vendor": "0x15b3\n"})
    section = read(tmp_path)
    assert [d.address for d in section.nvswitches] == ["0000:1b:00.0"]
    assert [d.address for d in section.amd_gpus] == ["0000:1c:00.0"]
    assert len(section.devices) == 2
    assert section.iommu == "off"


def test_a_device_that_tells_nothing_is_kept_with_reasons(tmp_path: Path) -> None:
    device(tmp_path, current_link_width="255\n", current_link_speed="Unknown\n", resource="rubbish\n")
    [card] = read(tmp_path).nvidia_gpus
    assert card.driver is None
    assert card.numa_node is None
    assert card.bar_bytes == ()
    assert isinstance(card.link_width, Unavailable)
    assert isinstance(card.link_speed_gts, Unavailable)


def test_a_machine_without_pci_has_no_devices_and_one_without_sysfs_is_not_known(tmp_path: Path) -> None:
    missing = take_snapshot(root=str(tmp_path), sections={"pci"}, timeout=30).pci
    assert isinstance(missing, Unavailable)
    (tmp_path / "sys/bus/acpi").mkdir(parents=True)
    assert read(tmp_path).devices == ()


def test_a_hostile_link_names_no_bridge(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name, text in (("vendor", "0x10de"), ("class", "0x030000"), ("device", "0x1e30")):
        (folder / name).write_text(text)
    place = tmp_path / "sys/bus/pci/devices" / GPU
    place.parent.mkdir(parents=True)
    place.symlink_to("/elsewhere")
    [card] = read(tmp_path).nvidia_gpus
    assert card.upstream == ()


@pytest.mark.parametrize(
    ("config", "expected"),
    [(acs(0), False), (acs(0b0100), True), (acs(0b1000), True), (acs(0b10011), False), (bytes(4096), False)],
)
def test_acs_bits(config: bytes, expected: bool) -> None:
    assert pci.parse_acs_redirect(config) is expected


def test_capabilities_in_a_circle_end() -> None:
    data = bytearray(4096)
    struct.pack_into("<I", data, 0x100, 0x100 << 20 | 1 << 16 | 1)
    assert pci.parse_acs_redirect(bytes(data)) is False


def test_what_only_root_may_read_is_no_permission(tmp_path: Path) -> None:
    folder = device(tmp_path)
    (folder.parent / "config").write_bytes(acs(0b0100)[:64])
    answer = pci.read_acs_redirect(Root(str(tmp_path)), BRIDGE)
    assert isinstance(answer, Unavailable)
    assert answer.kind == "no-permission"
    assert isinstance(pci.parse_acs_redirect(bytes(256)), Unavailable)


@pytest.mark.parametrize(
    ("types", "cmdline", "mode"),
    [
        ((), "iommu=pt", "off"),
        (("identity", "DMA"), "iommu=pt", "translated"),
        (("identity",), "", "passthrough"),
        ((None,), "quiet intel_iommu=on iommu=pt", "passthrough"),
        ((None,), "iommu.passthrough=1 iommu.passthrough=0", "translated"),
        ((None,), "intel_iommu=on", None),
    ],
)
def test_iommu_mode(types: tuple[str | None, ...], cmdline: str, mode: str | None) -> None:
    answer = pci.iommu_mode(types, cmdline)
    assert answer == mode or (mode is None and isinstance(answer, Unavailable))


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("", ()), ("0x10 0x1f 0x200\n" * 20, (16,) * 6), ("0xffffffffffffffffffff 0x1 0x200\n", ()),
     ("0x0 0xff 0x200\n", ()), ("0x1000 0x1fff 0x20000200\n", ())],
)
def test_bars(text: str, sizes: tuple[int, ...]) -> None:
    assert pci.parse_bars(text) == sizes


def test_the_live_machine_answers() -> None:
    section = take_snapshot(sections={"pci", "driver", "packages"}, timeout=30)
    assert not isinstance(section.pci, Unavailable)
    assert not isinstance(section.driver, Unavailable)
