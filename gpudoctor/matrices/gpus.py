"""GPUs: what a card is, by PCI id or by the name people write. Source: `gpus.toml`."""

from functools import cache, lru_cache
from typing import Literal

import msgspec

from gpudoctor.matrices import gpu_names
from gpudoctor.matrices.table import Confidence, Table, load

Kind = Literal["datacenter", "workstation", "geforce", "soc"]
Format = Literal["bf16", "fp8", "fp4", "int8"]


class NvLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """NVLink of one GPU. `gb_s` is the total of both directions; None where the link only reaches the CPU."""

    form: Literal["sxm", "bridge", "c2c", "c2c+nvlink"]
    generation: int | None = None
    gb_s: float | None = None


class NvidiaGpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One NVIDIA product, named as NVML names it.

    `memory_mib` is what NVML prints as total: the usual reading first, then others seen (ECC on, older drivers,
    other sizes of the same name); empty where NVML prints none. `bandwidth_gb_s` is in 10^9 bytes per second.
    `native` lists tensor formats in hardware. `min_driver` is advisory: its list lags, so warn and never refuse.
    """

    name: str
    pci_ids: tuple[str, ...]
    compute_capability: tuple[int, int]
    architecture: str
    kind: Kind
    memory_mib: tuple[int, ...]
    memory_confidence: Confidence
    memory_type: str
    ecc: bool
    native: tuple[Format, ...]
    figures_confidence: Confidence
    open_kernel_modules: Literal["required", "supported", "unsupported"]
    source: str
    aliases: tuple[str, ...] = ()
    memory_note: str | None = None
    bandwidth_gb_s: float | None = None
    bandwidth_note: str | None = None
    tdp_watts: float | None = None
    tdp_note: str | None = None
    nvlink: NvLink | None = None
    min_driver: str | None = None
    min_driver_by_branch: tuple[str, ...] = ()
    min_driver_note: str | None = None
    max_driver_branch: int | None = None


class AmdGpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One AMD product. `memory_gb` is the size on the box, `bandwidth_gb_s` in 10^9 bytes per second.

    `ollama` and `vllm`: `listed` by name in the engine's documents, `architecture` when only its gfx name is,
    `source` when the engine can merely be compiled for it.
    """

    name: str
    gfx: str
    architecture: str
    memory_gb: int
    memory_confidence: Confidence
    bandwidth_gb_s: float
    figures_confidence: Confidence
    ollama: Literal["listed", "architecture"]
    vllm: Literal["listed", "architecture", "source"]
    source: str
    aliases: tuple[str, ...] = ()
    note: str | None = None


class GpuTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `gpus.toml`."""

    nvidia: tuple[NvidiaGpu, ...]
    amd: tuple[AmdGpu, ...]


@cache
def table() -> GpuTable:
    """Return the whole table with its sources, parsed once."""
    return load("gpus", GpuTable)


def nvidia() -> tuple[NvidiaGpu, ...]:
    """Return every NVIDIA GPU known, oldest architecture first."""
    return table().nvidia


def amd() -> tuple[AmdGpu, ...]:
    """Return every AMD GPU known."""
    return table().amd


def by_pci_id(vendor: str, device: str) -> tuple[NvidiaGpu, ...]:
    """Return the products with this PCI id (`"10de", "1e30"`, with or without `0x`); several may share one.

    Empty when the table does not know the id, which says nothing about the card.
    """
    wanted = f"{_hex(vendor)}:{_hex(device)}"
    return tuple(gpu for gpu in nvidia() if wanted in gpu.pci_ids)


@lru_cache(maxsize=1024)
def by_name(text: str) -> tuple[NvidiaGpu, ...]:
    """Return the NVIDIA GPUs that a written name can mean: `h100 80gb`, `RTX8000`, `NVIDIA A100-SXM4-80GB`.

    One row when the name is complete, several when it leaves a choice (`H100`), none when it is unknown. A size in
    the name must fit, and comes first in the `memory_mib` of the rows returned.
    """
    asked = gpu_names.parse(text)
    found = [
        _with_memory_first(gpu, asked)
        for gpu in nvidia()
        if asked.memory_fits(gpu.memory_mib, (gpu.name, *gpu.aliases))
    ]
    return gpu_names.matching(asked, found, lambda gpu: (gpu.name, *_written_names(gpu)))


def amd_by_name(text: str) -> tuple[AmdGpu, ...]:
    """Return the AMD GPUs that a written name can mean, as `by_name` does."""
    asked = gpu_names.parse(text)
    found = [gpu for gpu in amd() if asked.memory_fits((gpu.memory_gb * 1024,), (gpu.name,))]
    return gpu_names.matching(asked, found, lambda gpu: gpu.aliases or (gpu.name,))


def nearest_names(text: str, count: int = 3) -> tuple[str, ...]:
    """Return the product names closest to a name that matched none, the closest first."""
    names = [gpu.name for gpu in nvidia()] + [gpu.name for gpu in amd()]
    return gpu_names.nearest(text, names, count)


def _hex(number: str) -> str:
    return number.lower().removeprefix("0x").zfill(4)


def _written_names(gpu: NvidiaGpu) -> tuple[str, ...]:
    # Data-centre cards without SXM in their name are sold as "PCIe"; people add it to any of them.
    pcie = gpu.kind == "datacenter" and (gpu.nvlink is None or gpu.nvlink.form == "bridge")
    return (*gpu.aliases, f"{gpu.name} PCIe") if pcie else gpu.aliases


def _with_memory_first(gpu: NvidiaGpu, asked: gpu_names.AskedName) -> NvidiaGpu:
    ordered = tuple(sorted(gpu.memory_mib, key=lambda mib: not asked.memory_is(mib)))
    return gpu if ordered == gpu.memory_mib else msgspec.structs.replace(gpu, memory_mib=ordered)
