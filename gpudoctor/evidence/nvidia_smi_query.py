"""``nvidia-smi -q``: one GPU after another, what belongs together by indentation.

Sample input:

    ==============NVSMI LOG==============
    Driver Version                            : 550.90.07
    GPU 00000000:1A:00.0
        Product Name                          : NVIDIA A100-SXM4-80GB
        Remapped Rows
            Uncorrectable Error               : 2
            Pending                           : Yes
"""

import re

from gpudoctor.facts.base import NOT_RECORDED, Unavailable
from gpudoctor.facts.gpus import Ecc, EccCounts, Fabric, Gpu, Mig, PcieLink, RetiredPages, RowRemapping

HEAD = "NVSMI LOG"
_GPU = re.compile(r"GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])\s*$")
_MAX_GPUS, _MAX_FACTS = 64, 1000
_FABRIC = {"not started": 1, "in progress": 2, "completed": 3}
_LINK = "PCI/GPU Link Info"
#: What stands in place of a value when a GPU does not answer -> NVML's return code.
_FAILURES = {"gpu is lost": 15, "gpu requires reset": 16}
_ACTIONS = {
    "none": 0, "reset": 1, "gpu reset": 1, "reboot": 2, "node reboot": 2, "drain p2p": 3, "drain and reset": 4,
}  # fmt: skip


class Query:
    """Collects ``section/name -> value`` of every GPU."""

    def __init__(self) -> None:
        self.gpus: dict[str, dict[str, str]] = {}
        self._now: dict[str, str] | None = None
        self._path: list[tuple[int, str]] = []

    def feed(self, line: str) -> bool:
        """Take one line; True while it is part of a GPU's facts."""
        start = _GPU.match(line)
        if start is not None and len(self.gpus) < _MAX_GPUS:
            self._now, self._path = self.gpus.setdefault(start[1].lower(), {}), []
            return True
        text = line.strip()
        depth = len(line) - len(line.lstrip())
        if self._now is None or not text:
            return False
        if depth == 0:
            self._now = None
            return False
        name, colon, value = (part.strip() for part in text.partition(" : "))
        while self._path and self._path[-1][0] >= depth:
            self._path.pop()
        if not colon:
            self._path.append((depth, name))
        elif len(self._now) < _MAX_FACTS:
            self._now.setdefault("/".join([*(part for _, part in self._path[-3:]), name]), value[:200])
        return True

    def facts(self) -> tuple[Gpu, ...]:
        """Return the GPUs, numbered in the order of the report."""
        return tuple(gpu_of(index, address, told) for index, (address, told) in enumerate(self.gpus.items()))


def gpu_of(index: int, address: str, told: dict[str, str]) -> Gpu:
    """Return the facts of one GPU, from the names and values of the text form; the XML form is brought into them."""
    words = " ".join(told.get(name, "") for name in ("Product Name", "GPU UUID", "FB Memory Usage/Total")).lower()
    lost = next((text for text in _FAILURES if text in words), None)
    device = re.match(r"(?:0x)?([0-9A-Fa-f]{4})10DE$", told.get("PCI/Device Id", ""))
    state = re.match(r"P(\d{1,2})$", told.get("Performance State", ""))
    action = told.get("GPU Recovery Action", "").lower()
    return Gpu(
        index=index,
        failure=lost,
        failure_code=_FAILURES[lost] if lost is not None else None,
        pci_address=pci_address(address),
        pci_device=device[1].lower() if device else NOT_RECORDED,
        name=_words(told.get("Product Name")),
        uuid=_words(told.get("GPU UUID")),
        serial=_words(told.get("Serial Number")),
        minor=_number(told.get("Minor Number")),
        vbios=_words(told.get("VBIOS Version")),
        memory_total_bytes=_mib(told.get("FB Memory Usage/Total")),
        memory_free_bytes=_mib(told.get("FB Memory Usage/Free")),
        memory_used_bytes=_mib(told.get("FB Memory Usage/Used")),
        memory_reserved_bytes=_mib(told.get("FB Memory Usage/Reserved")),
        bar1_total_bytes=_mib(told.get("BAR1 Memory Usage/Total")),
        bar1_used_bytes=_mib(told.get("BAR1 Memory Usage/Used")),
        ecc=_ecc(told),
        row_remapping=_rows(told),
        retired_pages=_pages(told),
        recovery_action=_ACTIONS.get(action, NOT_RECORDED),
        channel_repair_pending=_flag(told.get("ECC Errors/Channel Repair Pending")),
        tpc_repair_pending=_flag(told.get("ECC Errors/TPC Repair Pending")),
        temperature_celsius=_number(told.get("Temperature/GPU Current Temp")),
        slowdown_celsius=_number(told.get("Temperature/GPU Slowdown Temp")),
        shutdown_celsius=_number(told.get("Temperature/GPU Shutdown Temp")),
        thermal_margin_celsius=_number(told.get("Temperature/GPU T.Limit Temp")),
        memory_temperature_celsius=_number(told.get("Temperature/Memory Current Temp")),
        memory_max_celsius=_number(told.get("Temperature/Memory Max Operating Temp")),
        fan_percent=_number(told.get("Fan Speed")),
        performance_state=int(state[1]) if state else NOT_RECORDED,
        utilization_percent=_number(told.get("Utilization/Gpu") or told.get("Utilization/GPU")),
        sm_clock_mhz=_number(told.get("Clocks/SM")),
        max_sm_clock_mhz=_number(told.get("Max Clocks/SM")),
        power_watts=_watts(told, "Power Draw", "Average Power Draw", "Instantaneous Power Draw"),
        power_limit_watts=_watts(told, "Requested Power Limit", "Power Limit", "Current Power Limit"),
        power_enforced_watts=_watts(told, "Current Power Limit", "Enforced Power Limit"),
        power_default_watts=_watts(told, "Default Power Limit"),
        power_max_watts=_watts(told, "Max Power Limit"),
        pcie=PcieLink(
            generation=_number(told.get(f"{_LINK}/PCIe Generation/Current")),
            max_generation=_number(told.get(f"{_LINK}/PCIe Generation/Max")),
            card_max_generation=_number(told.get(f"{_LINK}/PCIe Generation/Device Max")),
            width=_lanes(told.get(f"{_LINK}/Link Width/Current")),
            max_width=_lanes(told.get(f"{_LINK}/Link Width/Max")),
        ),
        fabric=_fabric(told.get("Fabric/State"), told.get("Fabric/Status")),
        mig=_mig(told),
        compute_mode=compute_mode(told.get("Compute Mode")),
        persistence=_flag(told.get("Persistence Mode")),
        display_active=_flag(told.get("Display Active")),
    )


def pci_address(text: str) -> str:
    """Return a PCI address as sysfs writes it: four digits of domain, lower case, with its function."""
    domain, _, rest = text.lower().partition(":")
    return f"{domain[-4:] if len(domain) > 4 else domain.zfill(4)}:{rest}"


def _words(text: str | None) -> str | Unavailable:
    return NOT_RECORDED if text is None or text.lower() in ("", "n/a", "[n/a]", "unknown error") else text


def _lanes(text: str | None) -> int | Unavailable:
    """Read ``16x``."""
    found = re.match(r"(\d{1,2})x?$", text or "")
    return int(found[1]) if found else NOT_RECORDED


def _watts(told: dict[str, str], *names: str) -> float | Unavailable:
    """Read the first of several names that drivers have had for a figure, in several sections."""
    for section in ("GPU Power Readings", "Power Readings"):
        for name in names:
            if found := re.match(r"(\d{1,6}(?:\.\d{1,3})?) W$", told.get(f"{section}/{name}", "")):
                return float(found[1])
    return NOT_RECORDED


def compute_mode(text: str | None) -> str | Unavailable:
    """Read ``Default``, ``Exclusive_Process``, ``E. Process``, ``Prohibited`` into NVML's words."""
    word = (text or "").lower().replace("_", "-").replace("e. ", "exclusive-")
    return word if word in ("default", "exclusive-process", "exclusive-thread", "prohibited") else NOT_RECORDED


def _number(text: str | None) -> int | Unavailable:
    found = re.match(r"-?\d{1,12}(?![\d.])", text or "")
    return int(found[0]) if found else NOT_RECORDED


def _mib(text: str | None) -> int | Unavailable:
    number = _number(text)
    return number if isinstance(number, Unavailable) else number << 20


def _flag(text: str | None) -> bool | Unavailable:
    word = (text or "").lower()
    return word in ("enabled", "yes") if word in ("enabled", "disabled", "yes", "no") else NOT_RECORDED


def _ecc(told: dict[str, str]) -> Ecc | Unavailable:
    enabled = _flag(told.get("ECC Mode/Current"))
    if isinstance(enabled, Unavailable):
        return NOT_RECORDED
    return Ecc(
        enabled=enabled,
        pending=_flag(told.get("ECC Mode/Pending")),
        volatile=_counts(told, "ECC Errors/Volatile"),
        aggregate=_counts(told, "ECC Errors/Aggregate"),
        sram_threshold_exceeded=_flag(told.get("ECC Errors/Aggregate/SRAM Threshold Exceeded")),
    )


def _counts(told: dict[str, str], where: str) -> EccCounts:
    # Drivers before 450 count by memory and add it up.
    return EccCounts(
        corrected=_number(told.get(f"{where}/Single Bit/Total")),
        uncorrected=_number(told.get(f"{where}/Double Bit/Total")),
        sram_corrected=_number(told.get(f"{where}/SRAM Correctable")),
        sram_uncorrected=_number(
            told.get(f"{where}/SRAM Uncorrectable") or told.get(f"{where}/SRAM Uncorrectable Parity")
        ),
        dram_corrected=_number(told.get(f"{where}/DRAM Correctable")),
        dram_uncorrected=_number(told.get(f"{where}/DRAM Uncorrectable")),
    )


def _rows(told: dict[str, str]) -> RowRemapping | Unavailable:
    corrected = _number(told.get("Remapped Rows/Correctable Error"))
    uncorrected = _number(told.get("Remapped Rows/Uncorrectable Error"))
    pending = _flag(told.get("Remapped Rows/Pending"))
    failed = _flag(told.get("Remapped Rows/Remapping Failure Occurred"))
    if (
        isinstance(corrected, Unavailable)
        or isinstance(uncorrected, Unavailable)
        or isinstance(pending, Unavailable)
        or isinstance(failed, Unavailable)
    ):
        return NOT_RECORDED
    return RowRemapping(
        corrected=corrected, uncorrected=uncorrected, pending=pending, failed=failed,
        banks_exhausted=_number(told.get("Remapped Rows/Bank Remap Availability Histogram/None")),
    )


def _pages(told: dict[str, str]) -> RetiredPages | Unavailable:
    single, double = (_number(told.get(f"Retired Pages/{kind} Bit ECC")) for kind in ("Single", "Double"))
    pending = _flag(told.get("Retired Pages/Pending Page Blacklist"))
    if isinstance(single, Unavailable) and isinstance(double, Unavailable):
        return NOT_RECORDED
    return RetiredPages(single_bit=single, double_bit=double, pending=pending)


def _fabric(text: str | None, status: str | None) -> Fabric | Unavailable:
    state = _FABRIC.get((text or "").lower())
    if state is None:
        return NOT_RECORDED
    # While it is not completed there is no result yet; what is neither is an error of the registration.
    good = (status or "success").lower() in ("success", "n/a")
    return Fabric(state=state, result=0 if good else 999)


def _mig(told: dict[str, str]) -> Mig | Unavailable:
    enabled, pending = _flag(told.get("MIG Mode/Current")), _flag(told.get("MIG Mode/Pending"))
    if isinstance(enabled, Unavailable):
        return NOT_RECORDED
    return Mig(enabled=enabled, pending=enabled if isinstance(pending, Unavailable) else pending)
