"""NVIDIA GPUs through NVML. One that hangs costs itself: each question is announced before it is asked."""

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pynvml

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.probes import nvml_figures, nvml_links
from gpudoctor.probes.clock import same_kernel
from gpudoctor.probes.nvml_library import give_up_device_nodes, loaded_path, preload
from gpudoctor.probes.nvml_processes import processes
from gpudoctor.probes.nvml_questions import GpuLost, Questions, describe
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("gpus",)
OPTIONS = ()

LIBRARY = "libnvidia-ml.so.1"
#: Without persistence the driver sets every GPU up anew for its first client, seconds for each.
INIT_PATIENCE = 30.0
MAX_GPUS = 1024
#: One look at the throttle reasons says nothing: a state counts when most of several looks show it.
LOOKS, SECONDS_BETWEEN = 6, 0.4


class Board:
    """One GPU while it is being read."""

    def __init__(self, out: Reporter, index: int) -> None:
        self.out = out
        self.index = index
        self.ask = Questions(out, f"GPU {index}")
        self.handle: Any = None
        self.fields: dict[str, Any] = {}
        self.reasons: list[int] = []
        self.counted = time.monotonic()
        self.lost: GpuLost | None = None
        self.tell()

    def gpu(self) -> Gpu:
        """Return what is known so far."""
        if self.lost is not None:
            return Gpu(index=self.index, failure=str(self.lost), failure_code=self.lost.code, **self.fields)
        return Gpu(index=self.index, **self.fields)

    def tell(self) -> None:
        """Tell the parent what it may say of this GPU if it is never heard of again."""
        self.out.start(self.ask.item, section="gpus", field="gpus", placeholder=self.gpu(),
                       promised=True)


def probe(out: Reporter, root: Root) -> None:
    """Read driver and GPUs."""
    if out.left_out("NVML"):
        return
    if not same_kernel(root):
        out.unavailable("gpus", "the files are another machine's; its GPUs cannot be asked", "not-applicable")
        return
    out.start("NVML", doing="nvmlInit", section="gpus", patience=INIT_PATIENCE)
    if not root.exists("/proc/driver/nvidia/version"):
        give_up_device_nodes()
    preload(LIBRARY)
    try:
        pynvml.nvmlInit()
        count = _system(out)
    except pynvml.NVMLError as error:
        out.section("gpus", Gpus(error_code=error.value, error=describe(error), library_path=_path()))
        return
    read = [Board(out, index) for index in range(count) if not out.left_out(f"GPU {index}")]
    for board in read:
        _try(board, functools.partial(_read, root=root))
    _neighbours(read)
    _watch(read)
    for board in read:
        board.tell()
        out.append("gpus", "gpus", board.gpu())


def _path() -> str | Unavailable:
    return loaded_path("libnvidia-ml.so") or Unavailable("the library could not be loaded", "not-applicable")


def _system(out: Reporter) -> int:
    ask = Questions(out, "NVML")
    driver = ask.ask(pynvml.nvmlSystemGetDriverVersion)
    nvml = ask.ask(pynvml.nvmlSystemGetNVMLVersion)
    cuda = ask.ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)
    out.start("NVML", doing="nvmlDeviceGetCount")
    count: int = min(pynvml.nvmlDeviceGetCount(), MAX_GPUS)
    out.set("gpus", driver_version=driver, cuda_version=cuda, nvml_version=nvml, library_path=_path(), count=count)
    return count


def _try(board: Board, step: Callable[[Board], None]) -> None:
    if board.lost is not None:
        return
    try:
        step(board)
    except GpuLost as lost:
        board.lost = lost
    except Exception as error:  # a defect of ours on one odd GPU must not cost the others
        board.lost = GpuLost(f"reading it failed: {type(error).__name__}: {error}"[:300], None)


def _read(board: Board, root: Root) -> None:
    board.tell()
    ask = board.ask
    board.handle = ask.demand(pynvml.nvmlDeviceGetHandleByIndex, board.index)
    if isinstance(board.handle, Unavailable):
        raise GpuLost(board.handle.reason, None)
    handle = board.handle
    board.fields |= nvml_figures.identity(ask, handle)
    board.tell()
    board.fields |= nvml_figures.memory(ask, handle)
    board.tell()
    board.fields |= nvml_figures.temperatures(ask, handle)
    board.fields |= nvml_figures.repairs(ask, handle)
    board.tell()
    board.fields |= nvml_figures.power_and_clocks(ask, handle)
    board.fields |= nvml_figures.modes(ask, handle)
    board.fields["numa_node"] = nvml_figures.numa_node(root, board.fields["pci_address"])
    board.fields["pcie"] = nvml_links.pcie(ask, handle)
    board.fields["nvlinks"] = nvml_links.nvlinks(ask, handle)
    board.fields["fabric"] = nvml_links.fabric(ask, handle)
    board.fields["processes"] = processes(ask, handle, root)
    board.counted = time.monotonic()
    board.tell()


def _neighbours(boards: list[Board]) -> None:
    for first, second in itertools.combinations(boards, 2):
        if second.lost is None:
            _try(first, functools.partial(_meet, other=second))


def _meet(board: Board, other: Board) -> None:
    peer = nvml_links.peer(board.ask, board.handle, other.handle, other.index)
    board.fields["peers"] = (*board.fields.get("peers", ()), peer)
    other.fields["peers"] = (*other.fields.get("peers", ()), msgspec.structs.replace(peer, index=board.index))


def _watch(boards: list[Board]) -> None:
    """Look at the throttle reasons of all GPUs together several times, then read the counters again."""
    for look in range(LOOKS):
        watched = [board for board in boards if board.lost is None and not _silent(board)]
        if look and watched:
            time.sleep(SECONDS_BETWEEN)
        for board in watched:
            _try(board, _look)
    for board in boards:
        _try(board, _count_again)


def _silent(board: Board) -> bool:
    return isinstance(board.fields.get("clock_event_samples"), Unavailable)


def _look(board: Board) -> None:
    answer = board.ask.ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, board.handle)
    if isinstance(answer, Unavailable) and answer.kind == "driver-too-old":
        answer = board.ask.ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, board.handle)
    if not isinstance(answer, Unavailable):
        board.reasons.append(answer)
        board.fields["clock_event_samples"] = tuple(board.reasons)
    elif not board.reasons:
        board.fields["clock_event_samples"] = answer


def _count_again(board: Board) -> None:
    seconds = time.monotonic() - board.counted
    board.fields["pcie"] = nvml_links.pcie_later(board.ask, board.handle, board.fields["pcie"], seconds)
    board.fields["nvlinks"] = nvml_links.nvlinks_later(
        board.ask, board.handle, board.fields["nvlinks"], board.counted
    )
