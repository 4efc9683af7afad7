"""``nvidia-smi pmon``, ``dmon`` and ``--query-compute-apps``: who uses which GPU, and how warm and busy each is.

Sample input:

    # gpu         pid   type     sm    mem    enc    dec    jpg    ofa    command
    # Idx           #    C/G      %      %      %      %      %      %    name
        0       4711     C       35     12      -      -      -      -    ollama
"""

import re
from typing import NamedTuple

from gpudoctor.evidence.blocks import Kind, Reading, While
from gpudoctor.facts.base import NOT_RECORDED, Unavailable
from gpudoctor.facts.gpus import Gpu, GpuProcess, Gpus
from gpudoctor.facts.signatures import NOT_PASTED

_MAX_GPUS, _MAX_ROWS = 64, 2000
_MIB = 1 << 20


class _Table(NamedTuple):
    columns: list[str]
    rows: list[list[str]]


def processes(text: str, line: int, file: str) -> Reading | None:
    """Read ``pmon``; the last look at a process counts. A row of dashes is a GPU without any."""
    table = _table(text)
    if table is None or "pid" not in table.columns:
        return None
    found: dict[int, dict[int, GpuProcess]] = {}
    for row in table.rows:
        cells = dict(zip(table.columns, row, strict=False))
        index, pid = _figure(cells.get("gpu")), _figure(cells.get("pid"))
        if index is None or len(found) >= _MAX_GPUS:
            continue
        own = found.setdefault(index, {})
        if pid is not None:
            # Without -s m nothing tells of memory.
            used = _figure(cells.get("fb"))
            kind = "graphics" if cells.get("type") == "G" else "compute"
            name = row[table.columns.index("command")] if "command" in table.columns[: len(row)] else None
            own[pid] = GpuProcess(pid=pid, kind=kind, used_bytes=used * _MIB if used is not None else None, name=name)
    gpus = tuple(_gpu(index, processes=tuple(own.values())) for index, own in sorted(found.items()))
    return Reading(name="nvidia-smi-pmon", sections={"gpus": Gpus(gpus=gpus)}) if gpus else None


def devices(text: str, line: int, file: str) -> Reading | None:
    """Read ``dmon``; the last look at a GPU counts."""
    table = _table(text)
    if table is None or "pid" in table.columns:
        return None
    last = {index: dict(zip(table.columns, row, strict=False)) for row in table.rows[:_MAX_ROWS]
            if (index := _figure(row[0] if row else None)) is not None and index < 1000}  # fmt: skip
    gpus = tuple(
        _gpu(
            index,
            power_watts=_known(cells.get("pwr")),
            temperature_celsius=_known(cells.get("gtemp")),
            memory_temperature_celsius=_known(cells.get("mtemp")),
            utilization_percent=_known(cells.get("sm")),
            sm_clock_mhz=_known(cells.get("pclk")),
        )
        for index, cells in sorted(last.items())[:_MAX_GPUS]
    )
    return Reading(name="nvidia-smi-dmon", sections={"gpus": Gpus(gpus=gpus)}) if gpus else None


def read(text: str, line: int, file: str) -> Reading | None:
    """Read whichever of the two it is."""
    return processes(text, line, file) or devices(text, line, file)


def apps(text: str, line: int, file: str) -> Reading | None:
    """Read ``--query-compute-apps=...`` where it names the GPU of each process by its UUID."""
    head, *rows = text.split("\n")
    columns = [name.partition(" [")[0].strip() for name in head.split(",")]
    found: dict[str, list[GpuProcess]] = {}
    for row in rows[:_MAX_ROWS]:
        cells = dict(zip(columns, (cell.strip() for cell in row.split(",")), strict=False))
        pid = _figure(cells.get("pid"))
        used = _figure((cells.get("used_gpu_memory") or cells.get("used_memory") or "").partition(" ")[0])
        if pid is not None and cells.get("gpu_uuid", "").startswith("GPU-") and len(found) < _MAX_GPUS:
            found.setdefault(cells["gpu_uuid"][:60], []).append(
                GpuProcess(pid=pid, kind="compute", used_bytes=used * _MIB if used is not None else None,
                           name=(cells.get("process_name") or cells.get("name") or None))
            )  # fmt: skip
    gpus = tuple(
        _gpu(index, uuid=uuid, processes=tuple(own)) for index, (uuid, own) in enumerate(found.items())
    )
    return Reading(sections={"gpus": Gpus(gpus=gpus)}) if gpus else None


def _table(text: str) -> _Table | None:
    heads = [row.lstrip("# ").lower().split() for row in text.split("\n", 1)[:1]]
    if not heads or heads[0][:1] not in (["gpu"], ["date"], ["time"]):
        return None
    columns = heads[0]
    if "gpu" not in columns:
        return None
    start = columns.index("gpu")
    rows = [row.split()[start:] for row in text.split("\n") if row.strip() and not row.lstrip().startswith("#")]
    return _Table(columns[start:], rows[:_MAX_ROWS])


def _gpu(index: int, **told: object) -> Gpu:
    facts: dict[str, object] = {"uuid": NOT_PASTED, "pci_address": NOT_PASTED, **told}
    return Gpu(index=index, **facts)  # type: ignore[arg-type]


def _figure(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d{1,10}", text) else None


def _known(text: str | None) -> int | Unavailable:
    figure = _figure(text)
    return NOT_RECORDED if figure is None else figure


KINDS = (
    Kind(
        name="nvidia-smi-monitor",
        begins=r"#\s?(?:date\s+time\s+)?gpu\s+(?:pid|pwr|gtemp|sm|mclk|fb)\b",
        extent=lambda: While(re.compile(r"#\s?(?:gpu|Idx|[dD]ate|YYYY)|\s{0,8}[\d:/]{1,10}\s+\S")),
        read=read,
        words=("# gpu ",),
    ),
    Kind(
        name="nvidia-smi-apps",
        begins=r"\s{0,4}(?:[a-z_]{2,30}(?: \[\w{1,8}\])?,\s?){0,8}pid\b(?:,\s?[a-z_]{2,30}(?: \[\w{1,8}\])?){0,8}\s*$",
        extent=lambda: While(re.compile(r".{1,400},")),
        read=apps,
        words=("used_gpu_memory", "used_memory ["),
    ),
)
