"""AMD GPUs: kernel driver, device access, ROCm, and health."""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Section, Unavailable


class AmdNode(Item, frozen=True, kw_only=True):
    """``/dev/kfd`` or a render node: its owner group and whether this user can open it."""

    path: str
    mode: int
    gid: int
    group: str | None
    accessible: bool


class AmdGpu(Item, frozen=True, kw_only=True):
    """One AMD GPU through sysfs, or amd-smi where present. Temperatures in Celsius, memory in bytes."""

    address: str
    device: str
    name: str | None = None
    gfx: str | None = None
    vram_total_bytes: int | Unavailable = NOT_RECORDED
    vram_used_bytes: int | Unavailable = NOT_RECORDED
    ras_uncorrected: int | Unavailable = NOT_RECORDED
    ras_corrected: int | Unavailable = NOT_RECORDED
    bad_pages: int | Unavailable = NOT_RECORDED
    temperature_celsius: float | Unavailable = NOT_RECORDED
    critical_celsius: float | Unavailable = NOT_RECORDED
    failure: str | None = None


class Amd(Section, frozen=True, kw_only=True):
    """The amdgpu driver and ROCm. ``module_version`` is None for the kernel's own driver, which carries none."""

    module_loaded: bool
    module_version: str | None = None
    nodes: Annotated[tuple[AmdNode, ...], Meta(max_length=1024)] = ()
    rocm_version: str | None = None
    gpus: Annotated[tuple[AmdGpu, ...], Meta(max_length=1024)] = ()


class AmdSmiGpu(Item, frozen=True, kw_only=True):
    """What amd-smi says of one GPU. ``throttled`` is its word (None = it says nothing)."""

    index: int
    address: str | None = None
    ecc_uncorrected: int | Unavailable = NOT_RECORDED
    ecc_corrected: int | Unavailable = NOT_RECORDED
    hotspot_celsius: float | Unavailable = NOT_RECORDED
    memory_celsius: float | Unavailable = NOT_RECORDED
    pcie_replays: int | Unavailable = NOT_RECORDED
    throttled: bool | None = None


class AmdSmi(Section, frozen=True, kw_only=True):
    """``amd-smi``, where it is installed: figures that sysfs does not have."""

    gpus: Annotated[tuple[AmdSmiGpu, ...], Meta(max_length=1024)] = ()
