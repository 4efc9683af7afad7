"""The table that ``nvidia-smi`` prints: GPUs, MIG instances and processes, as drivers since 418 draw it.

Sample input:

    |   0  NVIDIA A100-SXM4-80GB          On  |   00000000:07:00.0 Off |                    0 |
    | N/A   31C    P0             53W /  400W |       0MiB /  81920MiB |      0%      Default |
    |                                         |                        |             Disabled |
"""

import re
from typing import Any

import msgspec

from gpudoctor.evidence.blocks import Kind, Reading, While
from gpudoctor.evidence.nvidia_smi_query import compute_mode, pci_address
from gpudoctor.facts.base import NOT_RECORDED
from gpudoctor.facts.gpus import Ecc, EccCounts, Gpu, GpuProcess, Gpus, Mig
from gpudoctor.facts.signatures import NOT_PASTED

_MAX_GPUS, _MAX_PROCESSES = 64, 1000
_HEAD = re.compile(
    r"NVIDIA-SMI \S{1,20}\s+(?:Driver|KMD) Version: (\d[\d.]{2,16})"
    r"(?:\s+CUDA (?:UMD )?Version: (\d{1,2})\.(\d{1,2}))?"
)
_GPU = re.compile(
    r"\|\s{1,6}(?P<index>\d{1,3})\s{1,4}(?P<name>\S.{0,60}?)\s+(?P<persistence>On|Off|N/A|ERR!|WDDM|TCC|MCDM)\s*\|"
    r"\s*(?P<address>[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])\s+(?P<display>\S{1,6})\s*\|"
    r"\s*(?P<ecc>\S{1,12})\s*\|"
)
_USE = re.compile(
    r"\|\s*(?P<fan>\d{1,3}%|N/A|ERR!)\s+(?:(?P<temperature>\d{1,3})C?|N/A|ERR!)\s+(?:P(?P<state>\d{1,2})|N/A|ERR!|\S{1,6})\s+"
    r"(?:(?P<watts>\d{1,5})W|N/A|ERR!|\S{1,20})\s*/\s*(?:(?P<limit>\d{1,5})W|N/A|ERR!|\S{1,12})\s*\|"
    r"\s*(?:(?P<used>\d{1,7})MiB\s*/\s*(?P<total>\d{1,7})MiB|\S.{0,30}?)\s*\|"
    r"\s*(?:(?P<load>\d{1,3})%|N/A|ERR!)\s+(?P<mode>\S.{0,20}?)\s*\|"
)
_LOST = re.compile(r"\|.{4,60}\|\s*GPU is lost")
_GPU_IS_LOST = 15
_MIG_MODE = re.compile(r"\|\s{10,60}\|\s{10,40}\|\s+(Enabled|Disabled)(\*?)\s*\|")
_INSTANCE = re.compile(r"\|\s{1,4}(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s*\|\s*\d{1,7}MiB\s*/")
_PROCESS = re.compile(
    r"\|\s{1,6}(?P<index>\d{1,3})\s+(?:(?:N/A|\d{1,3})\s+(?:N/A|\d{1,3})\s+)?(?P<pid>\d{1,10})\s+(?P<kind>C\+G|C|G|M\+C)\s+"
    r"(?P<name>\S.{0,80}?)\s+(?:(?P<used>\d{1,7})MiB|N/A)\s*\|"
)
_NO_PROCESSES = re.compile(r"\|\s+No running processes found\s+\|")


def read(text: str, line: int, file: str) -> Reading | None:
    """Read one table; None when no driver and no GPU stands in it."""
    head: re.Match[str] | None = None
    gpus: dict[int, dict[str, Any]] = {}
    processes: dict[int, list[GpuProcess]] | None = None
    instances: dict[int, set[str]] = {}
    now: dict[str, Any] = {}
    count = 0
    for row in text.split("\n"):
        if (found := _HEAD.search(row)) is not None:
            head = head or found
        elif (found := _GPU.match(row)) is not None and len(gpus) < _MAX_GPUS:
            now = gpus.setdefault(int(found["index"]), _first_row(found))
        elif _LOST.match(row) is not None and now:
            now.update(failure="GPU is lost", failure_code=_GPU_IS_LOST)
        elif (found := _USE.match(row)) is not None and now:
            now.update(_second_row(found))
        elif (found := _MIG_MODE.match(row)) is not None and now:
            enabled, changes = found[1] == "Enabled", bool(found[2])
            now["mig"] = Mig(enabled=enabled, pending=enabled is not changes)
        elif (found := _INSTANCE.match(row)) is not None:
            instances.setdefault(int(found[1]), set()).add(found[2])
        elif _NO_PROCESSES.match(row) is not None:
            processes = {}
        elif (found := _PROCESS.match(row)) is not None and count < _MAX_PROCESSES:
            processes, count = {} if processes is None else processes, count + 1
            processes.setdefault(int(found["index"]), []).append(_process(found))
    if head is None and not gpus:
        return None
    facts = [_gpu(index, told, processes, instances) for index, told in sorted(gpus.items())]
    driver = head[1] if head is not None else NOT_PASTED
    context = {"several-gpus"} if len(gpus) > 1 else set()
    return Reading(
        sections={
            "gpus": Gpus(
                driver_version=driver,
                cuda_version=int(head[2]) * 1000 + int(head[3]) * 10 if head is not None and head[2] else NOT_PASTED,
                count=len(gpus) or NOT_PASTED,
                gpus=tuple(facts),
            )
        },
        context=frozenset(context | ({"mig"} if instances else set())),
    )


def _first_row(found: "re.Match[str]") -> dict[str, Any]:
    count = found["ecc"]
    ecc = None
    if count == "Off":
        ecc = Ecc(enabled=False)
    elif count.isdigit():
        ecc = Ecc(enabled=True, volatile=EccCounts(uncorrected=int(count)))
    lost = found["name"] == "ERR!"
    return {
        # A long name is cut and ends in dots.
        "name": NOT_RECORDED if lost else found["name"].rstrip(". ") or NOT_RECORDED,
        **({"failure": "nvidia-smi shows ERR! in place of its name"} if lost else {}),
        "pci_address": pci_address(found["address"]),
        "persistence": found["persistence"] == "On" if found["persistence"] in ("On", "Off") else NOT_RECORDED,
        "display_active": found["display"] == "On" if found["display"] in ("On", "Off") else NOT_RECORDED,
        **({"ecc": ecc} if ecc is not None else {}),
    }


def _second_row(found: "re.Match[str]") -> dict[str, Any]:
    told: dict[str, Any] = {"compute_mode": compute_mode(found["mode"])}
    for field, name, unit in (
        ("temperature_celsius", "temperature", 1), ("performance_state", "state", 1),
        ("utilization_percent", "load", 1), ("memory_used_bytes", "used", 1 << 20),
        ("memory_total_bytes", "total", 1 << 20),
    ):  # fmt: skip
        if found[name] is not None:
            told[field] = int(found[name]) * unit
    if found["fan"].endswith("%"):
        told["fan_percent"] = int(found["fan"][:-1])
    for field, name in (("power_watts", "watts"), ("power_enforced_watts", "limit")):
        if found[name] is not None:
            told[field] = float(found[name])
    return told


def _process(found: "re.Match[str]") -> GpuProcess:
    return GpuProcess(
        pid=int(found["pid"]),
        kind="graphics" if found["kind"] == "G" else "compute",
        used_bytes=int(found["used"]) << 20 if found["used"] else None,
        name=found["name"].split()[0].rsplit("/", 1)[-1][:100],
    )


def _gpu(
    index: int, told: dict[str, Any], processes: dict[int, list[GpuProcess]] | None, instances: dict[int, set[str]]
) -> Gpu:
    gpu = Gpu(index=index, **told)
    if processes is not None:
        gpu = msgspec.structs.replace(gpu, processes=tuple(processes.get(index, ())))
    if isinstance(gpu.mig, Mig) and gpu.mig.enabled and instances:
        mig = msgspec.structs.replace(gpu.mig, instances=len(instances.get(index, ())))
        gpu = msgspec.structs.replace(gpu, mig=mig)
    return gpu


KIND = Kind(
    name="nvidia-smi",
    begins=r"\s{0,4}(?:\+-{30,}|\| NVIDIA-SMI |\|\s{1,6}\d{1,3}\s{1,4}\S.{0,60}\|\s{0,4}[0-9A-Fa-f]{8}:)",
    extent=lambda: While(re.compile(r"\s{0,4}[|+]|\s*$")),
    read=read,
    words=("nvidia-smi ",),
)

