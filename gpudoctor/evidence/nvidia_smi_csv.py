"""``nvidia-smi --query-gpu=... --format=csv``: a head with the fields' names, one row for each GPU.

Sample input:

    index, name, memory.total [MiB], driver_version, pci.bus_id
    0, NVIDIA H100 80GB HBM3, 81559 MiB, 550.90.07, 00000000:1B:00.0
"""

import re

import msgspec

from gpudoctor.evidence.blocks import Kind, Reading, While
from gpudoctor.evidence.nvidia_smi_query import gpu_of
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.signatures import NOT_PASTED

_MAX_GPUS = 64
_LINK = "PCI/GPU Link Info"
#: Field of --query-gpu -> the name in the text form.
_NAMES: dict[str, str] = {
    "name": "Product Name", "gpu_name": "Product Name", "uuid": "GPU UUID", "gpu_uuid": "GPU UUID",
    "serial": "Serial Number", "gpu_serial": "Serial Number", "vbios_version": "VBIOS Version",
    "persistence_mode": "Persistence Mode", "display_active": "Display Active", "compute_mode": "Compute Mode",
    "fan.speed": "Fan Speed", "pstate": "Performance State", "memory.total": "FB Memory Usage/Total",
    "memory.used": "FB Memory Usage/Used", "memory.free": "FB Memory Usage/Free",
    "memory.reserved": "FB Memory Usage/Reserved", "temperature.gpu": "Temperature/GPU Current Temp",
    "temperature.memory": "Temperature/Memory Current Temp", "temperature.gpu.tlimit": "Temperature/GPU T.Limit Temp",
    "utilization.gpu": "Utilization/Gpu", "mig.mode.current": "MIG Mode/Current",
    "mig.mode.pending": "MIG Mode/Pending", "ecc.mode.current": "ECC Mode/Current",
    "ecc.mode.pending": "ECC Mode/Pending", "power.draw": "Power Readings/Power Draw",
    "power.limit": "Power Readings/Power Limit", "enforced.power.limit": "Power Readings/Enforced Power Limit",
    "power.default_limit": "Power Readings/Default Power Limit", "power.max_limit": "Power Readings/Max Power Limit",
    "clocks.sm": "Clocks/SM", "clocks.current.sm": "Clocks/SM", "clocks.max.sm": "Max Clocks/SM",
    "pcie.link.gen.current": f"{_LINK}/PCIe Generation/Current",
    "pcie.link.gen.gpucurrent": f"{_LINK}/PCIe Generation/Current",
    "pcie.link.gen.max": f"{_LINK}/PCIe Generation/Max",
    "pcie.link.gen.gpumax": f"{_LINK}/PCIe Generation/Device Max",
    "pcie.link.width.current": f"{_LINK}/Link Width/Current", "pcie.link.width.max": f"{_LINK}/Link Width/Max",
    "retired_pages.single_bit_ecc.count": "Retired Pages/Single Bit ECC",
    "retired_pages.double_bit.count": "Retired Pages/Double Bit ECC",
    "retired_pages.pending": "Retired Pages/Pending Page Blacklist",
    "remapped_rows.correctable": "Remapped Rows/Correctable Error",
    "remapped_rows.uncorrectable": "Remapped Rows/Uncorrectable Error",
    "remapped_rows.pending": "Remapped Rows/Pending",
    "remapped_rows.failure": "Remapped Rows/Remapping Failure Occurred",
    "fabric.state": "Fabric/State", "fabric.status": "Fabric/Status",
    **{f"ecc.errors.{word}.{span}.{place}": f"ECC Errors/{span.title()}/{text}"
       for word, single, large in (("corrected", "Single Bit/Total", "Correctable"),
                                   ("uncorrected", "Double Bit/Total", "Uncorrectable"))
       for span in ("volatile", "aggregate")
       for place, text in (("total", single), ("sram", f"SRAM {large}"), ("dram", f"DRAM {large}"))},
}  # fmt: skip
_OTHERS = frozenset({"index", "timestamp", "driver_version", "count", "pci.bus_id", "gpu_bus_id", "compute_cap"})


def read(text: str, line: int, file: str) -> Reading | None:
    """Read one listing; None when its head names nothing that is known."""
    head, *rows = text.split("\n")
    fields = [name.partition(" [")[0].strip() for name in head.split(",")]
    known = [name for name in fields if name in _NAMES or name in _OTHERS]
    if len(known) < 2 or not any(name in _NAMES for name in known):
        return None
    told = [_row(fields, row) for row in rows if row.strip()][:_MAX_GPUS]
    told = [row for row in told if row]
    driver = next((row["driver_version"] for row in told if re.match(r"\d{3}\.", row.get("driver_version", ""))), None)
    gpus = tuple({gpu.index: gpu for gpu in (_gpu(number, row) for number, row in enumerate(told))}.values())
    return Reading(
        sections={"gpus": Gpus(driver_version=driver or NOT_PASTED, count=len(gpus) or NOT_PASTED, gpus=gpus)},
        context=frozenset({"several-gpus"} if len(gpus) > 1 else ()),
    )


def _row(fields: list[str], row: str) -> dict[str, str]:
    cells = [cell.strip() for cell in row.split(",")]
    if len(cells) != len(fields):
        return {}
    return {name: cell for name, cell in zip(fields, cells, strict=True) if cell.lower() not in ("", "[n/a]", "n/a")}


def _gpu(number: int, row: dict[str, str]) -> Gpu:
    index = row.get("index", "")
    told = {_NAMES[name]: value.strip("[]") for name, value in row.items() if name in _NAMES}
    address = row.get("pci.bus_id") or row.get("gpu_bus_id") or ""
    gpu = gpu_of(int(index) if re.match(r"\d{1,3}$", index) else number, address, told)
    if not address:
        gpu = msgspec.structs.replace(gpu, pci_address=NOT_PASTED)
    capability = re.match(r"(\d{1,2})\.(\d)$", row.get("compute_cap", ""))
    if capability is not None:
        gpu = msgspec.structs.replace(gpu, compute_capability=(int(capability[1]), int(capability[2])))
    return gpu


_FIELD = r"[a-z][a-z_.]{1,60}(?: \[[A-Za-z%/]{1,8}\])?"

KIND = Kind(
    name="nvidia-smi-csv",
    begins=rf"\s{{0,4}}{_FIELD}(?:,\s?{_FIELD}){{1,120}}\s*$",
    extent=lambda: While(re.compile(r"(?!.{0,120}\bpid\b).{1,400},")),
    read=read,
    words=("memory.total", "driver_version", "pci.bus_id", "compute_cap"),
)
