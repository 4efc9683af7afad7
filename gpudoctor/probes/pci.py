"""GPUs, NVSwitches and the bridges above them, as sysfs shows them without any driver."""

import os
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.pci import Pci, PciBridge, PciDevice
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("pci",)
OPTIONS: tuple[str, ...] = ()

DEVICES = "/sys/bus/pci/devices"
_GROUPS = "/sys/kernel/iommu_groups"
_MAX_DEVICES = 4096
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_SPEED = re.compile(r"(\d+(?:\.\d+)?)\s*GT/s")

_IORESOURCE_MEM = 0x200
_IORESOURCE_UNSET = 0x20000000
_BARS = 6

_EXTENDED_CONFIG = 0x100
_CONFIG_BYTES = 4096
_ACS_CAPABILITY = 0x000D
_ACS_REQUEST_OR_COMPLETION_REDIRECT = 0b1100

T = TypeVar("T")


def probe(out: Reporter, root: Root) -> None:
    """Fill ``pci``. A kernel without a PCI bus has no devices; a tree without /sys says nothing."""
    if not root.exists("/sys/bus") and not root.exists(DEVICES):
        out.unavailable("pci", "sysfs is not there (/sys/bus)", "error")
        return
    devices = read_devices(root)
    above = sorted({bridge for device in devices for bridge in device.upstream})
    out.section(
        "pci",
        Pci(
            devices=devices,
            bridges=tuple(PciBridge(address=name, acs_redirect=read_acs_redirect(root, name)) for name in above),
            iommu=iommu_mode(group_types(root, devices), _text(root, "/proc/cmdline")),
        ),
    )


def _text(root: Root, name: str, limit: int = 4096) -> str:
    try:
        return root.read(name, limit) or ""
    except PermissionError:
        return ""


def read_devices(root: Root) -> tuple[PciDevice, ...]:
    """Read every NVIDIA or AMD GPU and every NVSwitch."""
    found: list[PciDevice] = []
    for address in root.list(DEVICES)[: 16 * _MAX_DEVICES]:
        folder = f"{DEVICES}/{address}"
        if _hex(_text(root, f"{folder}/vendor", 64)) not in ("10de", "1002"):
            continue
        device = _device(root, address, folder)
        if device.is_nvidia_gpu or device.is_amd_gpu or device.is_nvswitch:
            found.append(device)
    return tuple(found[:_MAX_DEVICES])


def _device(root: Root, address: str, folder: str) -> PciDevice:
    def number(name: str) -> str:
        return _hex(_text(root, f"{folder}/{name}", 64))

    def figure(name: str, parse: Callable[[str], T | None]) -> T | Unavailable:
        return _figure(root, f"{folder}/{name}", parse)

    node = root.read_int(f"{folder}/numa_node")
    driver = root.readlink(f"{folder}/driver")
    return PciDevice(
        address=address,
        vendor=number("vendor"),
        device=number("device"),
        class_code=_hex(_text(root, f"{folder}/class", 64), 6)[:4],
        subsystem_vendor=number("subsystem_vendor"),
        subsystem_device=number("subsystem_device"),
        driver=driver.rpartition("/")[2] if driver else None,
        numa_node=node if node is not None and node >= 0 else None,
        link_speed_gts=figure("current_link_speed", parse_speed),
        max_link_speed_gts=figure("max_link_speed", parse_speed),
        link_width=figure("current_link_width", parse_width),
        max_link_width=figure("max_link_width", parse_width),
        bar_bytes=parse_bars(_text(root, f"{folder}/resource")),
        virtual_function=root.readlink(f"{folder}/physfn") is not None,
        iommu_group_type=_group_type(root, folder),
        upstream=parse_upstream(root.readlink(folder) or "", address),
    )


def _hex(text: str, digits: int = 4) -> str:
    """Return ``0x10DE`` as ``10de``; empty for what is no number."""
    match = re.fullmatch(r"(?:0x)?([0-9a-f]{1,8})", text.strip().lower())
    return match[1].zfill(digits) if match else ""


def _figure(root: Root, name: str, parse: Callable[[str], T | None]) -> T | Unavailable:
    try:
        text = root.read(name, 256)
    except PermissionError:
        return Unavailable(f"no permission to read {name}", "no-permission")
    value = None if text is None else parse(text)
    return Unavailable("the kernel does not know it", "not-supported") if value is None else value


def parse_speed(text: str) -> float | None:
    """Read ``16.0 GT/s PCIe``; None for ``Unknown``."""
    match = _SPEED.match(text.strip())
    return float(match[1]) if match else None


def parse_width(text: str) -> int | None:
    """Read a number of lanes; 0 and 255 are how devices without a real link answer."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:9]) <= 32 else None


def parse_bars(text: str) -> tuple[int, ...]:
    """Return the sizes of the assigned memory regions among the six base address registers.

    Sample line of sysfs' ``resource``: ``0x0000388000000000 0x0000388fffffffff 0x000000000014220c``.
    """
    sizes: list[int] = []
    for line in text.splitlines()[:_BARS]:
        fields = line.split()
        try:
            start, end, flags = (int(field, 16) for field in fields)
        except ValueError:
            continue
        if flags & _IORESOURCE_MEM and not flags & _IORESOURCE_UNSET and 0 < start < end < 1 << 64:
            sizes.append(end - start + 1)
    return tuple(sizes)


def parse_upstream(link: str, address: str) -> tuple[str, ...]:
    """Return the bridges on the way ``../../../devices/pci0000:16/0000:16:02.0/0000:1a:00.0``, nearest first."""
    parts = [part for part in link.split("/") if _ADDRESS.fullmatch(part)]
    if not parts or parts[-1] != address:
        return ()
    return tuple(reversed(parts[:-1]))[:64]


def read_acs_redirect(root: Root, address: str) -> bool | Unavailable:
    """Tell whether a bridge redirects peer-to-peer traffic to the root; only root may read that far."""
    try:
        data = root.read_bytes(f"{DEVICES}/{address}/config", _CONFIG_BYTES)
    except PermissionError:
        data = b""
    if data is None:
        return Unavailable("the kernel shows no configuration space", "not-supported")
    if len(data) <= 64 and not (root.live and os.geteuid() == 0):
        return Unavailable("only root may read a bridge's extended configuration space", "no-permission")
    return parse_acs_redirect(data)


def parse_acs_redirect(config: bytes) -> bool | Unavailable:
    """Find the ACS capability in configuration space: request or completion redirect on. No ACS redirects nothing."""
    if len(config) <= _EXTENDED_CONFIG:
        return Unavailable("the bridge has no extended configuration space", "not-supported")
    place, seen = _EXTENDED_CONFIG, set[int]()
    while place >= _EXTENDED_CONFIG and place + 8 <= len(config) and place not in seen:
        seen.add(place)
        header = int.from_bytes(config[place : place + 4], "little")
        if header in (0, 0xFFFFFFFF):
            break
        if header & 0xFFFF == _ACS_CAPABILITY:
            control = int.from_bytes(config[place + 6 : place + 8], "little")
            return bool(control & _ACS_REQUEST_OR_COMPLETION_REDIRECT)
        place = header >> 20 & 0xFFC
    return False


def _group_type(root: Root, folder: str) -> str | Unavailable:
    link = root.readlink(f"{folder}/iommu_group")
    if link is None:
        return Unavailable("it is in no IOMMU group", "not-applicable")
    return _figure(root, f"{_GROUPS}/{link.rpartition('/')[2]}/type", lambda text: text.strip()[:32] or None)


def group_types(root: Root, devices: Iterable[PciDevice]) -> tuple[str | None, ...] | Unavailable:
    """Return the types of the GPUs' IOMMU groups, of any group where there is no GPU; None is a type untold."""
    grouped = [
        device.iommu_group_type
        for device in devices
        if not (isinstance(device.iommu_group_type, Unavailable) and device.iommu_group_type.kind == "not-applicable")
    ]
    if grouped:
        return tuple(None if isinstance(kind, Unavailable) else kind for kind in grouped)
    try:
        names = root.list(_GROUPS)
    except PermissionError:
        return Unavailable(f"no permission to read {_GROUPS}", "no-permission")
    if not names:
        return ()
    if any(device.is_nvidia_gpu or device.is_amd_gpu for device in devices):
        return ()
    return tuple(_text(root, f"{_GROUPS}/{name}/type", 64).strip() or None for name in names[:_MAX_DEVICES])


def iommu_mode(types: tuple[str | None, ...] | Unavailable, cmdline: str) -> str | Unavailable:
    """Return ``off`` (no groups), ``translated`` or ``passthrough``.

    Kernels before 5.11 do not tell a group's type; then only an explicit boot option decides, because what is
    the default was chosen when the kernel was built.
    """
    if isinstance(types, Unavailable):
        return types
    if not types:
        return "off"
    if any(kind is not None and kind.startswith("DMA") for kind in types):
        return "translated"
    if all(kind == "identity" for kind in types):
        return "passthrough"
    asked: str | None = None
    for word in cmdline.split():
        name, _, value = word.partition("=")
        if name == "iommu.passthrough" and value in ("0", "1"):
            asked = "passthrough" if value == "1" else "translated"
        elif name in ("iommu", "intel_iommu", "amd_iommu"):
            values = value.split(",")
            asked = "passthrough" if "pt" in values else "translated" if "nopt" in values else asked
    return asked or Unavailable("this kernel does not tell whether its IOMMU translates", "not-supported")
