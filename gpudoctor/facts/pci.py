"""The PCI bus, as sysfs shows it without any driver."""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Section, Unavailable


class PciDevice(Item, frozen=True, kw_only=True):
    """One device. Ids and class are lower-case hexadecimal without ``0x`` (``10de``, ``1e30``, ``0300``).

    ``address`` is ``domain:bus:device.function``. Link speeds are in GT/s. ``driver`` is the bound kernel
    driver, None for none. ``bar_bytes`` lists the memory regions' sizes. ``upstream`` is the path of bridges
    from the device to its root port, nearest first.
    """

    address: str
    vendor: str
    device: str
    class_code: str
    subsystem_vendor: str = ""
    subsystem_device: str = ""
    driver: str | None = None
    numa_node: int | None = None
    link_speed_gts: float | Unavailable = NOT_RECORDED
    max_link_speed_gts: float | Unavailable = NOT_RECORDED
    link_width: int | Unavailable = NOT_RECORDED
    max_link_width: int | Unavailable = NOT_RECORDED
    bar_bytes: tuple[int, ...] = ()
    virtual_function: bool = False
    iommu_group_type: str | Unavailable = NOT_RECORDED
    upstream: tuple[str, ...] = ()
    reset_count: int | None = None

    @property
    def is_nvidia_gpu(self) -> bool:
        """A display or 3D controller of NVIDIA (classes 0300 and 0302)."""
        return self.vendor == "10de" and self.class_code in ("0300", "0302")

    @property
    def is_nvswitch(self) -> bool:
        """An NVSwitch: NVIDIA bridge device of class 0680."""
        return self.vendor == "10de" and self.class_code == "0680"

    @property
    def is_amd_gpu(self) -> bool:
        """A display controller or processing accelerator of AMD (classes 0300, 0380, 1200)."""
        return self.vendor == "1002" and self.class_code in ("0300", "0380", "1200")


class PciBridge(Item, frozen=True, kw_only=True):
    """A bridge above a GPU. ``acs_redirect``: request or completion redirect on (PCIe ACS control bits 2, 3)."""

    address: str
    acs_redirect: bool | Unavailable = NOT_RECORDED


class Pci(Section, frozen=True, kw_only=True):
    """GPUs, NVSwitches and the bridges above them. ``iommu`` is ``off``, ``translated`` or ``passthrough``."""

    devices: Annotated[tuple[PciDevice, ...], Meta(max_length=4096)] = ()
    bridges: Annotated[tuple[PciBridge, ...], Meta(max_length=4096)] = ()
    iommu: str | Unavailable = NOT_RECORDED

    @property
    def nvidia_gpus(self) -> tuple[PciDevice, ...]:
        """NVIDIA GPUs in bus order, virtual functions left out of nothing: a vGPU guest sees one."""
        return tuple(d for d in self.devices if d.is_nvidia_gpu)

    @property
    def amd_gpus(self) -> tuple[PciDevice, ...]:
        """AMD GPUs in bus order."""
        return tuple(d for d in self.devices if d.is_amd_gpu)

    @property
    def nvswitches(self) -> tuple[PciDevice, ...]:
        """NVSwitch devices in bus order."""
        return tuple(d for d in self.devices if d.is_nvswitch)
