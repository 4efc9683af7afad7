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
from gpudoctor.facts.gpus import Ecc, EccCounts, Fabric, Gpu, Mig, RetiredPages, RowRemapping

HEAD = "NVSMI LOG"
_GPU = re.compile(r"GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])\s*$")
_MAX_GPUS, _MAX_FACTS = 64, 1000
_FABRIC = {"not started": 1, "in progress": 2, "completed": 3}


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
        return tuple(_gpu(index, address, told) for index, (address, told) in enumerate(self.gpus.items()))


def _gpu(index: int, address: str, told: dict[str, str]) -> Gpu:
    return Gpu(
        index=index,
        pci_address=address,
        name=told.get("Product Name", NOT_RECORDED),
        uuid=told.get("GPU UUID", NOT_RECORDED),
        vbios=told.get("VBIOS Version", NOT_RECORDED),
        memory_total_bytes=_mib(told.get("FB Memory Usage/Total")),
        memory_free_bytes=_mib(told.get("FB Memory Usage/Free")),
        memory_used_bytes=_mib(told.get("FB Memory Usage/Used")),
        ecc=_ecc(told),
        row_remapping=_rows(told),
        retired_pages=_pages(told),
        temperature_celsius=_number(told.get("Temperature/GPU Current Temp")),
        slowdown_celsius=_number(told.get("Temperature/GPU Slowdown Temp")),
        shutdown_celsius=_number(told.get("Temperature/GPU Shutdown Temp")),
        fabric=_fabric(told.get("Fabric/State")),
        mig=_mig(told),
        compute_mode=told["Compute Mode"].lower() if "Compute Mode" in told else NOT_RECORDED,
        persistence=_flag(told.get("Persistence Mode")),
    )


def _number(text: str | None) -> int | Unavailable:
    found = re.match(r"\d{1,12}\b", text or "")
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
    )


def _counts(told: dict[str, str], where: str) -> EccCounts:
    return EccCounts(
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
    return RowRemapping(corrected=corrected, uncorrected=uncorrected, pending=pending, failed=failed)


def _pages(told: dict[str, str]) -> RetiredPages | Unavailable:
    single, double = (_number(told.get(f"Retired Pages/{kind} Bit ECC")) for kind in ("Single", "Double"))
    pending = _flag(told.get("Retired Pages/Pending Page Blacklist"))
    if isinstance(single, Unavailable) and isinstance(double, Unavailable):
        return NOT_RECORDED
    return RetiredPages(single_bit=single, double_bit=double, pending=pending)


def _fabric(text: str | None) -> Fabric | Unavailable:
    state = _FABRIC.get((text or "").lower())
    return NOT_RECORDED if state is None else Fabric(state=state, result=0)


def _mig(told: dict[str, str]) -> Mig | Unavailable:
    enabled, pending = _flag(told.get("MIG Mode/Current")), _flag(told.get("MIG Mode/Pending"))
    if isinstance(enabled, Unavailable):
        return NOT_RECORDED
    return Mig(enabled=enabled, pending=enabled if isinstance(pending, Unavailable) else pending)
