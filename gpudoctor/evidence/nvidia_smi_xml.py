"""``nvidia-smi -q -x``: the same report as ``-q`` in XML, brought into the names of the text form.

Sample input:

    <nvidia_smi_log>
        <driver_version>550.90.07</driver_version>
        <gpu id="00000000:1A:00.0">
            <product_name>NVIDIA A100-SXM4-80GB</product_name>
            <remapped_rows><remapped_row_pending>Yes</remapped_row_pending></remapped_rows>
"""

import re
from typing import NoReturn
from xml.parsers import expat

from gpudoctor.evidence.blocks import Kind, Reading, Unread, Until
from gpudoctor.evidence.nvidia_smi_query import gpu_of
from gpudoctor.facts.gpus import Gpu, GpuProcess, Gpus
from gpudoctor.facts.signatures import NOT_PASTED

_MAX_DEPTH, _MAX_GPUS, _MAX_FACTS, _MAX_PROCESSES, _MAX_TEXT = 32, 64, 2000, 1000, 400
_NOTHING = ("", "n/a", "[n/a]", "none")
_ECC = {
    "sram_correctable": "SRAM Correctable", "sram_uncorrectable": "SRAM Uncorrectable",
    "sram_uncorrectable_parity": "SRAM Uncorrectable Parity", "dram_correctable": "DRAM Correctable",
    "dram_uncorrectable": "DRAM Uncorrectable", "sram_threshold_exceeded": "SRAM Threshold Exceeded",
    "single_bit/total": "Single Bit/Total", "double_bit/total": "Double Bit/Total",
}  # fmt: skip
_POWER = {
    "power_draw": "Power Draw", "average_power_draw": "Average Power Draw",
    "instant_power_draw": "Instantaneous Power Draw", "power_limit": "Power Limit",
    "current_power_limit": "Current Power Limit", "requested_power_limit": "Requested Power Limit",
    "enforced_power_limit": "Enforced Power Limit", "default_power_limit": "Default Power Limit",
    "max_power_limit": "Max Power Limit",
}  # fmt: skip
#: Path of elements below <gpu> -> the name in the text form.
_NAMES: dict[str, str] = {
    "product_name": "Product Name", "uuid": "GPU UUID", "serial": "Serial Number", "minor_number": "Minor Number",
    "vbios_version": "VBIOS Version", "persistence_mode": "Persistence Mode", "display_active": "Display Active",
    "compute_mode": "Compute Mode", "fan_speed": "Fan Speed", "performance_state": "Performance State",
    "gpu_recovery_action": "GPU Recovery Action", "mig_mode/current_mig": "MIG Mode/Current",
    "mig_mode/pending_mig": "MIG Mode/Pending", "pci/pci_device_id": "PCI/Device Id",
    "pci/pci_gpu_link_info/pcie_gen/current_link_gen": "PCI/GPU Link Info/PCIe Generation/Current",
    "pci/pci_gpu_link_info/pcie_gen/max_link_gen": "PCI/GPU Link Info/PCIe Generation/Max",
    "pci/pci_gpu_link_info/pcie_gen/max_device_link_gen": "PCI/GPU Link Info/PCIe Generation/Device Max",
    "pci/pci_gpu_link_info/link_widths/current_link_width": "PCI/GPU Link Info/Link Width/Current",
    "pci/pci_gpu_link_info/link_widths/max_link_width": "PCI/GPU Link Info/Link Width/Max",
    "utilization/gpu_util": "Utilization/Gpu", "clocks/sm_clock": "Clocks/SM", "max_clocks/sm_clock": "Max Clocks/SM",
    "ecc_mode/current_ecc": "ECC Mode/Current", "ecc_mode/pending_ecc": "ECC Mode/Pending",
    "ecc_errors/channel_repair_pending": "ECC Errors/Channel Repair Pending",
    "ecc_errors/tpc_repair_pending": "ECC Errors/TPC Repair Pending",
    "remapped_rows/remapped_row_corr": "Remapped Rows/Correctable Error",
    "remapped_rows/remapped_row_unc": "Remapped Rows/Uncorrectable Error",
    "remapped_rows/remapped_row_pending": "Remapped Rows/Pending",
    "remapped_rows/remapped_row_failure": "Remapped Rows/Remapping Failure Occurred",
    "remapped_rows/row_remapper_histogram/row_remapper_histogram_none":
        "Remapped Rows/Bank Remap Availability Histogram/None",
    "retired_pages/multiple_single_bit_retirement/retired_count": "Retired Pages/Single Bit ECC",
    "retired_pages/double_bit_retirement/retired_count": "Retired Pages/Double Bit ECC",
    "retired_pages/pending_blacklist": "Retired Pages/Pending Page Blacklist",
    "retired_pages/pending_retirement": "Retired Pages/Pending Page Blacklist",
    "temperature/gpu_temp": "Temperature/GPU Current Temp",
    "temperature/gpu_temp_slow_threshold": "Temperature/GPU Slowdown Temp",
    "temperature/gpu_temp_max_threshold": "Temperature/GPU Shutdown Temp",
    "temperature/gpu_temp_tlimit": "Temperature/GPU T.Limit Temp",
    "temperature/memory_temp": "Temperature/Memory Current Temp",
    "temperature/gpu_temp_max_mem_threshold": "Temperature/Memory Max Operating Temp",
    "fabric/state": "Fabric/State", "fabric/status": "Fabric/Status",
    **{f"{xml}_memory_usage/{part}": f"{text} Memory Usage/{part.title()}"
       for xml, text in (("fb", "FB"), ("bar1", "BAR1")) for part in ("total", "reserved", "used", "free")},
    **{f"ecc_errors/{span}/{xml}": f"ECC Errors/{span.title()}/{text}"
       for span in ("volatile", "aggregate") for xml, text in _ECC.items()},
    **{f"{xml}/{part}": f"{text}/{name}" for xml, text in
       (("gpu_power_readings", "GPU Power Readings"), ("power_readings", "Power Readings"))
       for part, name in _POWER.items()},
}  # fmt: skip


class _Report:
    """Collects what expat tells, within bounds."""

    def __init__(self) -> None:
        self.general: dict[str, str] = {}
        self.gpus: dict[str, dict[str, str]] = {}
        self.processes: dict[str, list[dict[str, str]]] = {}
        self._path: list[str] = []
        self._text: list[str] = []
        self._gpu: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) >= _MAX_DEPTH:
            raise Unread("the XML is nested deeper than any report of nvidia-smi")
        self._path.append(name)
        self._text = []
        if self._path == ["nvidia_smi_log", "gpu"] and len(self.gpus) < _MAX_GPUS:
            self._gpu = attributes.get("id", "")[:40].lower()
            self.gpus[self._gpu], self.processes[self._gpu] = {}, []
        elif name == "process_info" and self._gpu is not None:
            self.processes[self._gpu].append({})

    def text(self, data: str) -> None:
        if len(self._text) < _MAX_TEXT:
            self._text.append(data[:_MAX_TEXT])

    def end(self, name: str) -> None:
        value = "".join(self._text).strip()[:_MAX_TEXT]
        path = "/".join(self._path[2:])
        self._text = []
        self._path.pop()
        if self._gpu is None:
            if len(self._path) == 1 and len(self.general) < _MAX_FACTS:
                self.general.setdefault(name, value)
        elif path.startswith("processes/process_info/") and len(self.processes[self._gpu]) <= _MAX_PROCESSES:
            self.processes[self._gpu][-1].setdefault(name, value)
        elif (known := _NAMES.get(path)) is not None and value.lower() not in ("", "n/a"):
            self.gpus[self._gpu].setdefault(known, value)
        if self._path == ["nvidia_smi_log"]:
            self._gpu = None


def _refuse(*_: object) -> NoReturn:
    raise Unread("the XML defines entities, which no report of nvidia-smi does; it was not read")


def read(text: str, line: int, file: str) -> Reading:
    """Read a report; of one that breaks off, the GPUs up to there.

    Raises:
        Unread: It is damaged before the first GPU, or made to do harm.
    """
    report = _Report()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = report.start, report.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = report.text, _refuse
    problem = None
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        place = line + error.lineno - 1
        problem = f"line {place}: the XML of nvidia-smi breaks off or is damaged here; what came before was read"
        if not report.gpus and not report.general:
            raise Unread("the XML of nvidia-smi is damaged from its beginning") from None
    gpus = tuple(_gpu(number, address, report) for number, address in enumerate(report.gpus))
    cuda = re.match(r"(\d{1,2})\.(\d{1,2})$", report.general.get("cuda_version", ""))
    driver = report.general.get("driver_version", "")
    count = report.general.get("attached_gpus", "")
    return Reading(
        sections={
            "gpus": Gpus(
                driver_version=driver if re.match(r"\d{3}\.", driver) else NOT_PASTED,
                cuda_version=int(cuda[1]) * 1000 + int(cuda[2]) * 10 if cuda else NOT_PASTED,
                count=int(count) if re.match(r"\d{1,4}$", count) else len(gpus),
                gpus=gpus,
            )
        },
        problem=problem,
    )


def _gpu(number: int, address: str, report: _Report) -> Gpu:
    import msgspec

    gpu = gpu_of(number, address, report.gpus[address])
    processes = tuple(p for told in report.processes[address] if (p := _process(told)) is not None)
    return msgspec.structs.replace(gpu, processes=processes) if processes else gpu


def _process(told: dict[str, str]) -> GpuProcess | None:
    pid, memory = told.get("pid", ""), re.match(r"(\d{1,9}) MiB", told.get("used_memory", ""))
    if not re.match(r"\d{1,10}$", pid):
        return None
    words = told.get("process_name", "").split()
    return GpuProcess(
        pid=int(pid),
        kind="graphics" if told.get("type", "") == "G" else "compute",
        used_bytes=int(memory[1]) << 20 if memory else None,
        # The name alone: newer drivers tell the whole command, which may hold secrets.
        name=words[0].rsplit("/", 1)[-1][:100] if words and words[0].lower() not in _NOTHING else None,
    )


KIND = Kind(
    name="nvidia-smi-xml",
    begins=r"\s{0,8}(?:<\?xml [^>]{0,80}\?>\s{0,8}$|<!DOCTYPE nvidia_smi_log|<nvidia_smi_log\b)",
    extent=lambda: Until(re.compile(r"</nvidia_smi_log>"), re.compile(r"\s*$|\s*<|\s+\S")),
    read=read,
    alone=True,
    words=("nvidia_smi_log",),
)

