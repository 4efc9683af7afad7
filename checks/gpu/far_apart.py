"""The chosen GPUs lie on different processor sockets.

## Why it matters
What GPUs on two sockets exchange goes through the link between the processors: slower, with more delay, and without
peer-to-peer on many boards. Tensor parallel pays for it after every layer. NVLink makes it irrelevant.

## How to fix
Choose GPUs of one socket with `--gpus` and CUDA_VISIBLE_DEVICES; `nvidia-smi topo -m` shows the table (SYS = crosses).

## References
- https://github.com/vllm-project/vllm/issues/4238
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from gpudoctor.checking import Finding, Target, check, known, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.judging.cards import linked, wanted_together

SOURCE = "nvmlDeviceGetTopologyCommonAncestor"
SYSTEM = 50


@check()
def far_apart(gpus: Gpus, target: Target) -> Iterator[Finding]:
    """Warn only where a closer set of as many GPUs exists."""
    wanted = wanted_together(gpus, target)
    if not wanted:
        yield skipped("host", "not several GPUs are wanted for one model (--gpus, --model)")
        return
    numbers = tuple(gpu.index for gpu in wanted)
    crossing = tuple(f"{a.index}-{b.index}" for a, b in combinations(wanted, 2) if _far(a, b) and not linked(a, b))
    seen = saw("pairs that cross sockets", crossing, SOURCE)
    if not crossing:
        yield passed("host", "GPUs {numbers} lie close together, or NVLink joins them", numbers=numbers, evidence=seen)
        return
    closer = _closer(gpus.answering, len(wanted))
    if closer:
        yield warned("host", "GPUs {numbers} lie on different sockets, GPUs {closer} do not", numbers=numbers,
                     closer=closer, evidence=seen,
                     fix=step("Use those.", "export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={choice}",
                              choice=",".join(map(str, closer))))
    else:
        yield noted("host", "GPUs {numbers} lie on different sockets; there is no closer set of {count}",
                    numbers=numbers, count=len(wanted), evidence=seen)


def _far(first: Gpu, second: Gpu) -> bool:
    peer = next((p for p in first.peers if p.index == second.index), None)
    level = known(peer.common_ancestor) if peer is not None else None
    if level is not None:
        return level >= SYSTEM
    nodes = known(first.numa_node), known(second.numa_node)
    return None not in nodes and nodes[0] != nodes[1]


def _closer(gpus: Sequence[Gpu], count: int) -> tuple[int, ...]:
    """Return as many GPUs of one neighbourhood, empty when none is large enough."""
    for start in gpus:
        near = [gpu for gpu in gpus if gpu is start or not _far(start, gpu)]
        if len(near) >= count:
            return tuple(gpu.index for gpu in near[:count])
    return ()
