"""The deep probe: does CUDA work, on each GPU and between each two? Every test runs in a child of its own."""

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from gpudoctor.facts.base import Reason, Unavailable
from gpudoctor.facts.cuda import CudaGpu, P2pPair
from gpudoctor.probes.clock import same_kernel
from gpudoctor.probes.cuda_list import Listed
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root
from gpudoctor.probes.runner import ProbeAnswer, ProbeSpec, run_probes

SECTIONS = ("cuda",)
OPTIONS = ("gpus", "use_busy", "patience")

#: Seconds of silence that one call may take, and that one child may take for all it does.
PATIENCE, TIMEOUT = 20.0, 60.0
#: The children's ends and the fresh child after a lost one take a little longer.
_GRACE = 15.0
#: A child that uses two GPUs takes hundreds of megabytes of host memory.
_SIDE_BY_SIDE = 4


def probe(
    out: Reporter, root: Root, gpus: Sequence[int] | None = None, use_busy: bool = False, patience: float = PATIENCE
) -> None:
    """Test every idle GPU, one after the other so that copies do not share a PCIe switch; then every pair."""
    if out.left_out("CUDA"):
        return
    if not same_kernel(root):
        out.unavailable("cuda", "the files are another machine's; its GPUs cannot be used", "not-applicable")
        return
    out.start("CUDA", doing="cuInit", section="cuda", patience=TIMEOUT + _GRACE)
    children = _Children(root, patience)
    answer = children.run("CUDA", "cuda_init")
    started = answer.sections.get("cuda", {})
    uuids = started.pop("uuids", [])
    if not started:
        reason, kind = _why(answer)
        started = {"init_code": Unavailable(reason, kind), "init_error": reason}
    out.set("cuda", **started)
    if isinstance(started["init_code"], dict):
        return  # there is no library
    boards = [board for board in _boards(children, uuids) if gpus is None or board.index in gpus]
    for board in boards:
        out.start(f"GPU {board.index}", doing="its test", patience=TIMEOUT + _GRACE, section="cuda", field="gpus",
                  placeholder=CudaGpu(index=board.index, uuid=board.uuid), promised=True)
    working: list[Listed] = []
    for board in boards:
        item = f"GPU {board.index}"
        if out.left_out(item):
            continue
        out.start(item, doing="its test")
        gpu = _test(children, board, use_busy)
        out.append("cuda", "gpus", gpu)
        if gpu.ok:
            working.append(board)
    _test_pairs(out, children, working)


class _Children:
    """Starts the children. They die with this process."""

    def __init__(self, root: Root, patience: float) -> None:
        self.root = root
        self.patience = patience

    def spec(self, name: str, module: str, **options: Any) -> ProbeSpec:
        return ProbeSpec(name=name, modules=(module,), sections=("cuda",), patience=self.patience,
                         options={"parent": os.getpid(), **options})

    def run_all(self, specs: Sequence[ProbeSpec]) -> list[ProbeAnswer]:
        return run_probes(specs, root=self.root.prefix, timeout=TIMEOUT)

    def run(self, name: str, module: str, **options: Any) -> ProbeAnswer:
        return self.run_all([self.spec(name, module, **options)])[0]


def _why(answer: ProbeAnswer) -> tuple[str, Reason]:
    reason, kind = answer.missing.get("cuda", (answer.outcome, "error"))
    return reason, msgspec.convert(kind, Reason)


def _boards(children: _Children, uuids: Sequence[str]) -> list[Listed]:
    """Return the GPUs as NVML lists them; as CUDA does where NVML does not work."""
    raw = children.run("the list of GPUs", "cuda_list").sections.get("cuda", {}).get("listed", [])
    listed = msgspec.convert(raw, list[Listed])
    return listed or [Listed(index=index, uuid=uuid) for index, uuid in enumerate(uuids)]


def _test(children: _Children, board: Listed, use_busy: bool) -> CudaGpu:
    gpu = CudaGpu(index=board.index, uuid=board.uuid)
    if board.failure is not None or board.uuid is None:
        return msgspec.structs.replace(gpu, failure=board.failure or "NVML does not tell its UUID")
    if board.busy is not None and not use_busy:
        return msgspec.structs.replace(gpu, refused=board.busy)
    answer = children.run(f"GPU {board.index}", "cuda_gpu", index=board.index, uuid=board.uuid)
    raw = answer.sections.get("cuda", {}).get("gpus", [])
    return msgspec.convert(raw[0], CudaGpu) if raw else msgspec.structs.replace(gpu, failure=_why(answer)[0])


def _test_pairs(out: Reporter, children: _Children, boards: Sequence[Listed]) -> None:
    batches = [batch for pairs in rounds(boards) for batch in _batches(pairs)]
    for first, second in itertools.chain.from_iterable(batches):
        out.start(_pair_name(first, second), doing="an exchange", patience=TIMEOUT + _GRACE, section="cuda",
                  field="pairs", placeholder=P2pPair(first=first.index, second=second.index), promised=True)
    for batch in batches:
        todo = [(first, second) for first, second in batch if not out.left_out(_pair_name(first, second))]
        if not todo:
            continue
        out.start(_pair_name(*todo[0]), doing="an exchange")
        specs = [
            children.spec(_pair_name(first, second), "cuda_pair", first=first.index, second=second.index,
                  uuids=[first.uuid, second.uuid])
            for first, second in todo
        ]
        for (first, second), answer in zip(todo, children.run_all(specs), strict=True):
            raw = answer.sections.get("cuda", {}).get("pairs", [])
            pair = msgspec.convert(raw[0], P2pPair) if raw else P2pPair(
                first=first.index, second=second.index, failure=_why(answer)[0]
            )
            out.start(_pair_name(first, second), doing="an exchange")
            out.append("cuda", "pairs", pair)


def _pair_name(first: Listed, second: Listed) -> str:
    return f"GPUs {first.index} and {second.index}"


Pair = tuple[Listed, Listed]


def rounds(boards: Sequence[Listed]) -> Iterator[list[Pair]]:
    """Yield every pair once, in rounds in which no GPU plays twice: a tournament's schedule."""
    wheel: list[Listed | None] = [*boards, *([None] if len(boards) % 2 else [])]
    half = len(wheel) // 2
    for _ in range(len(wheel) - 1):
        pairs = [
            (first, second) if first.index < second.index else (second, first)
            for first, second in zip(wheel[:half], reversed(wheel[half:]), strict=True)
            if first is not None and second is not None
        ]
        if pairs:
            yield pairs
        wheel.insert(1, wheel.pop())


def _batches(pairs: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
    for start in range(0, len(pairs), _SIDE_BY_SIDE):
        yield pairs[start : start + _SIDE_BY_SIDE]
