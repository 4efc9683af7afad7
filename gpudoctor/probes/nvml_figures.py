"""The figures of one GPU, in the groups in which they are asked."""

import ctypes
from typing import Any

import pynvml

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Ecc, EccCounts, Mig, RetiredPages, RowRemapping
from gpudoctor.probes.nvml_questions import DEAD, INVALID_ARGUMENT, UNKNOWN, Questions, function
from gpudoctor.probes.root import Root

_CORRUPTED_INFOROM = 14
_NOT_FOUND = 6
_DRAM, _SRAM = 2, 7
_ARCHITECTURES = {
    2: "Kepler", 3: "Maxwell", 4: "Pascal", 5: "Volta", 6: "Turing", 7: "Ampere", 8: "Ada", 9: "Hopper",
    10: "Blackwell", 13: "Rubin",
}
_COMPUTE_MODES = {0: "default", 1: "exclusive-thread", 2: "prohibited", 3: "exclusive-process"}
_UNKNOWN_PERFORMANCE_STATE = 32


def _named(names: dict[int, str], what: str) -> Any:
    return lambda number: names.get(number) or Unavailable(f"{what} {number} is not known here", "error")


def pci_address(info: Any) -> str:
    """Return the address as sysfs writes it: ``0000:1a:00.0``."""
    return f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}.0"


def identity(ask: Questions, handle: Any) -> dict[str, Any]:
    """Who it is. Name and memory are what every working GPU answers."""
    pci = ask.ask(pynvml.nvmlDeviceGetPciInfo, handle)
    known = not isinstance(pci, Unavailable)
    return {
        "name": ask.demand(pynvml.nvmlDeviceGetName, handle),
        "uuid": ask.ask(pynvml.nvmlDeviceGetUUID, handle),
        "pci_address": pci_address(pci) if known else pci,
        "pci_device": f"{pci.pciDeviceId >> 16:04x}" if known else pci,
        "minor": ask.ask(pynvml.nvmlDeviceGetMinorNumber, handle),
        "serial": ask.ask(pynvml.nvmlDeviceGetSerial, handle),
        "vbios": ask.ask(pynvml.nvmlDeviceGetVbiosVersion, handle),
        "compute_capability": ask.ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle),
        "architecture": ask.ask(
            pynvml.nvmlDeviceGetArchitecture, handle, of=_named(_ARCHITECTURES, "architecture number")
        ),
    }


def numa_node(root: Root, address: Any) -> int | Unavailable:
    """Return the node of the GPU's slot, from sysfs: NVML's own figure is for GPUs that are nodes themselves."""
    node = root.read_int(f"/sys/bus/pci/devices/{address}/numa_node") if isinstance(address, str) else None
    if node is None:
        return Unavailable("sysfs does not show this device", "not-supported")
    return node if node >= 0 else Unavailable("the machine has no NUMA nodes, or its firmware names none",
                                              "not-applicable")


def memory(ask: Questions, handle: Any) -> dict[str, Any]:
    """Sizes. The newer call tells the driver's own reserve from what programs use; the two are never mixed."""
    info = ask.demand(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    reserved = getattr(info, "reserved", None)
    if isinstance(info, Unavailable) and info.kind == "driver-too-old":
        info, reserved = ask.demand(pynvml.nvmlDeviceGetMemoryInfo, handle), info
    bar1 = ask.ask(pynvml.nvmlDeviceGetBAR1MemoryInfo, handle)
    lost = info if isinstance(info, Unavailable) else None
    no_bar = bar1 if isinstance(bar1, Unavailable) else None
    return {
        "memory_total_bytes": lost or info.total,
        "memory_free_bytes": lost or info.free,
        "memory_used_bytes": lost or info.used,
        "memory_reserved_bytes": lost or reserved,
        "bar1_total_bytes": no_bar or bar1.bar1Total,
        "bar1_used_bytes": no_bar or bar1.bar1Used,
    }


def _slowed_seconds(status: Any) -> float:
    return float(status.violationTime) / 1e9


def temperatures(ask: Questions, handle: Any) -> dict[str, Any]:
    """Temperatures and limits. The margin is the driver's own distance to the limit (Ada and newer)."""
    now = ask.ask(pynvml.nvmlDeviceGetTemperature, handle, 0, fatal=(*DEAD, UNKNOWN))
    if isinstance(now, Unavailable) and now.kind == "driver-too-old":
        now = ask.ask(function("nvmlDeviceGetTemperatureV"), handle, 0, fatal=(*DEAD, UNKNOWN))
    memory_now, recovery = ask.fields(
        handle, pynvml.NVML_FI_DEV_MEMORY_TEMP, pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
    )
    threshold = pynvml.nvmlDeviceGetTemperatureThreshold
    slowed = pynvml.nvmlDeviceGetViolationStatus
    return {
        "temperature_celsius": now,
        "shutdown_celsius": ask.ask(threshold, handle, pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN),
        "slowdown_celsius": ask.ask(threshold, handle, pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
        "memory_max_celsius": ask.ask(threshold, handle, pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX),
        "memory_temperature_celsius": memory_now,
        "thermal_margin_celsius": ask.ask(pynvml.nvmlDeviceGetMarginTemperature, handle),
        "thermal_slowdown_seconds": ask.ask(slowed, handle, pynvml.NVML_PERF_POLICY_THERMAL, of=_slowed_seconds),
        "power_slowdown_seconds": ask.ask(slowed, handle, pynvml.NVML_PERF_POLICY_POWER, of=_slowed_seconds),
        "fan_percent": ask.ask(pynvml.nvmlDeviceGetFanSpeed, handle),
        "recovery_action": recovery,
    }


def ecc(ask: Questions, handle: Any) -> Ecc | Unavailable:
    """Mode and counters, SRAM and DRAM apart where the driver splits them."""
    mode = ask.ask(pynvml.nvmlDeviceGetEccMode, handle)
    if isinstance(mode, Unavailable):
        return mode

    def counts(span: int) -> EccCounts:
        def total(kind: int) -> Any:
            return ask.ask(pynvml.nvmlDeviceGetTotalEccErrors, handle, kind, span)

        def at(kind: int, place: int) -> Any:
            return ask.ask(pynvml.nvmlDeviceGetMemoryErrorCounter, handle, kind, span, place)

        return EccCounts(
            corrected=total(0), uncorrected=total(1),
            sram_corrected=at(0, _SRAM), sram_uncorrected=at(1, _SRAM),
            dram_corrected=at(0, _DRAM), dram_uncorrected=at(1, _DRAM),
        )

    status = pynvml.c_nvmlEccSramErrorStatus_v1_t()
    exceeded = ask.ask(
        pynvml.nvmlDeviceGetSramEccErrorStatus, handle, ctypes.byref(status),
        of=lambda _: bool(status.bThresholdExceeded),
    )
    return Ecc(enabled=mode[0] == 1, pending=mode[1] == 1, volatile=counts(0), aggregate=counts(1),
               sram_threshold_exceeded=exceeded)


def repairs(ask: Questions, handle: Any) -> dict[str, Any]:
    """Row remapping, retired pages, repairs that wait, and the inforom."""
    rows = ask.ask(pynvml.nvmlDeviceGetRemappedRows, handle)
    if not isinstance(rows, Unavailable):
        corrected, uncorrected, pending, failed = rows
        rows = RowRemapping(
            corrected=corrected, uncorrected=uncorrected, pending=bool(pending), failed=bool(failed),
            banks_exhausted=ask.ask(pynvml.nvmlDeviceGetRowRemapperHistogram, handle, of=lambda h: h.none),
        )
    waiting = ask.ask(function("nvmlDeviceGetRepairStatus"), handle)
    no_repair = waiting if isinstance(waiting, Unavailable) else None
    return {
        "ecc": ecc(ask, handle),
        "row_remapping": rows,
        "retired_pages": _retired(ask, handle),
        "channel_repair_pending": no_repair or bool(waiting[0]),
        "tpc_repair_pending": no_repair or bool(waiting[1]),
        "inforom_valid": ask.ask(_inforom_valid, handle, doing="nvmlDeviceValidateInforom"),
    }


def _inforom_valid(handle: Any) -> bool:
    try:
        pynvml.nvmlDeviceValidateInforom(handle)
    except pynvml.NVMLError as error:
        if error.value == _CORRUPTED_INFOROM:
            return False
        raise
    return True


def _retired(ask: Questions, handle: Any) -> RetiredPages | Unavailable:
    single, double = (ask.ask(pynvml.nvmlDeviceGetRetiredPages, handle, cause, of=len) for cause in (0, 1))
    pending = ask.ask(pynvml.nvmlDeviceGetRetiredPagesPendingStatus, handle, of=bool)
    if all(isinstance(figure, Unavailable) for figure in (single, double, pending)):
        gone: Unavailable = single
        return gone
    return RetiredPages(single_bit=single, double_bit=double, pending=pending)


def _watts(milliwatts: int) -> float:
    return milliwatts / 1000


def power_and_clocks(ask: Questions, handle: Any) -> dict[str, Any]:
    """Power, its limits, clocks and load at one moment."""
    state = ask.ask(pynvml.nvmlDeviceGetPerformanceState, handle)
    if state == _UNKNOWN_PERFORMANCE_STATE:
        state = Unavailable("the driver does not know the performance state", "not-supported")
    return {
        "power_watts": ask.ask(pynvml.nvmlDeviceGetPowerUsage, handle, of=_watts),
        "power_limit_watts": ask.ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle, of=_watts),
        "power_enforced_watts": ask.ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle, of=_watts),
        "power_default_watts": ask.ask(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, handle, of=_watts),
        "power_max_watts": ask.ask(
            pynvml.nvmlDeviceGetPowerManagementLimitConstraints, handle, of=lambda pair: _watts(pair[1])
        ),
        "performance_state": state,
        "utilization_percent": ask.ask(pynvml.nvmlDeviceGetUtilizationRates, handle, of=lambda rates: rates.gpu),
        "sm_clock_mhz": ask.ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        "max_sm_clock_mhz": ask.ask(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
    }


def modes(ask: Questions, handle: Any) -> dict[str, Any]:
    """Settings of the driver for this GPU."""
    return {
        "mig": _mig(ask, handle),
        "compute_mode": ask.ask(pynvml.nvmlDeviceGetComputeMode, handle, of=_named(_COMPUTE_MODES, "compute mode")),
        "persistence": ask.ask(pynvml.nvmlDeviceGetPersistenceMode, handle, of=bool),
        "display_active": ask.ask(pynvml.nvmlDeviceGetDisplayActive, handle, of=bool),
    }


def _mig(ask: Questions, handle: Any) -> Mig | Unavailable:
    mode = ask.ask(pynvml.nvmlDeviceGetMigMode, handle)
    if isinstance(mode, Unavailable):
        return mode
    count: Any = 0
    if mode[0]:
        count = ask.ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle)
        if not isinstance(count, Unavailable):
            count = ask.ask(_mig_instances, handle, count, doing="nvmlDeviceGetMigDeviceHandleByIndex")
    return Mig(enabled=bool(mode[0]), pending=bool(mode[1]), instances=count)


def _mig_instances(handle: Any, most: int) -> int:
    found = set()
    for index in range(min(most, 64)):
        try:
            device = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except pynvml.NVMLError as error:
            if error.value in (_NOT_FOUND, INVALID_ARGUMENT):
                continue
            raise
        found.add(pynvml.nvmlDeviceGetGpuInstanceId(device))
    return len(found)
