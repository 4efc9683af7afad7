"""One child of the deep probe: which GPUs there are, and which of them are at work."""

import msgspec
import pynvml

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes.cuda_driver import die_with
from gpudoctor.probes.nvml_library import preload
from gpudoctor.probes.nvml_processes import processes
from gpudoctor.probes.nvml_questions import GpuLost, Questions
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("cuda",)
OPTIONS = ("parent",)

#: An idle GPU under a desktop holds some hundred MiB.
_IDLE_BYTES = 1 << 30
_IDLE_PERCENT = 10


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU. ``busy`` says what it does, None when it is idle; ``failure`` why it did not answer."""

    index: int
    uuid: str | None = None
    busy: str | None = None
    failure: str | None = None


def probe(out: Reporter, root: Root, parent: int) -> None:
    """Send one ``Listed`` for each GPU."""
    die_with(parent)
    if out.left_out("NVML"):
        return
    out.start("NVML", doing="nvmlInit", section="cuda")
    preload("libnvidia-ml.so.1")
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        out.unavailable("cuda", f"NVML: {error}")
        return
    out.set("cuda", listed=[])
    for index in range(count):
        item = f"GPU {index}"
        if out.left_out(item):
            continue
        listed = Listed(index=index)
        out.start(item, section="cuda", field="listed", placeholder=listed, promised=True)
        try:
            listed = look(Questions(out, item), index, root)
        except GpuLost as lost:
            listed = Listed(index=index, failure=str(lost))
        out.start(item)
        out.append("cuda", "listed", listed)


def look(ask: Questions, index: int, root: Root) -> Listed:
    """Ask one GPU for its UUID and its work."""
    handle = ask.demand(pynvml.nvmlDeviceGetHandleByIndex, index)
    if isinstance(handle, Unavailable):
        return Listed(index=index, failure=handle.reason)
    uuid = ask.demand(pynvml.nvmlDeviceGetUUID, handle)
    if isinstance(uuid, Unavailable):
        return Listed(index=index, failure=uuid.reason)
    at_work = processes(ask, handle, root)
    load = ask.ask(pynvml.nvmlDeviceGetUtilizationRates, handle, of=lambda rates: rates.gpu)
    memory = ask.ask(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    busy = None
    if not isinstance(at_work, Unavailable) and (computing := [p for p in at_work if p.kind == "compute"]):
        busy = f"{len(computing)} programs compute on it" if len(computing) > 1 else "a program computes on it"
    elif not isinstance(load, Unavailable) and load >= _IDLE_PERCENT:
        busy = f"it is {load} % busy"
    elif not isinstance(memory, Unavailable) and memory.used > _IDLE_BYTES:
        busy = f"{memory.used / (1 << 30):.1f} GiB of its memory are in use"
    return Listed(index=index, uuid=uuid, busy=busy)
