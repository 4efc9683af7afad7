"""No NVLink joins the GPUs that are to work together.

## Why it matters
Tensor parallel exchanges data after every layer. Without NVLink that goes over PCIe: it works, and how much it costs
depends on the generation and the lanes of each card. Many cards have no NVLink at all (GeForce RTX 40 and 50, L40S,
RTX 6000 Ada), so a bridge bought for them fits nowhere.

## How to fix
Nothing is broken. With PCIe 4.0 x16 or better tensor parallel over two GPUs is usually still worth it; with few lanes
prefer pipeline parallel, or one model per GPU. Cards with a bridge connector need the bridge of their generation.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__NvLink.html
- https://docs.vllm.ai/en/stable/serving/parallelism_scaling.html
"""

from collections.abc import Iterator, Sequence

from gpudoctor.checking import Finding, Target, check, known, need, noted, passed, saw, skipped, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.judging.cards import active_links, link_form, linked

SOURCE = "nvmlDeviceGetNvLinkState"
SLOW_LANES, SLOW_GENERATION = 8, 3
#: Nobody looked, as against a card that has none.
_UNSEEN = ("not-recorded", "not-asked")


@check()
def no_nvlink(gpus: Gpus, target: Target) -> Iterator[Finding]:
    """Say what joins the chosen GPUs, or all of them; information only."""
    chosen = tuple(gpu for gpu in gpus.answering if target.chosen(gpu.index))
    if len(chosen) < 2:
        yield skipped("host", "fewer than two GPUs are chosen")
        return
    groups = _groups(chosen)
    names = tuple(dict.fromkeys(gpu.label for gpu in chosen))
    numbers = tuple(gpu.index for gpu in chosen)
    paths = tuple(_pcie(gpu) for gpu in chosen)
    seen = (saw("NVLinks up", tuple(f"GPU {gpu.index}: {active_links(gpu) or 0}" for gpu in chosen), SOURCE),
            saw("PCIe", paths, "nvmlDeviceGetMaxPcieLinkGeneration, nvmlDeviceGetCurrPcieLinkWidth"))
    slow = any((known(gpu.pcie.width) or 16) <= SLOW_LANES or (known(gpu.pcie.max_generation) or 4) <= SLOW_GENERATION
               for gpu in chosen)
    advice = (
        step("Tensor parallel will work at the price of speed: prefer pipeline parallel, or one model per GPU.")
        if slow
        else step("Tensor parallel works over PCIe; over two GPUs it is usually still worth it, over more measure it.")
    )
    if len(groups) == 1:
        yield passed("host", "NVLink joins GPUs {numbers}", numbers=numbers, evidence=seen)
    elif any(active_links(gpu) for gpu in chosen):
        yield noted("host", "NVLink joins not all of GPUs {numbers}, only: {groups}; the rest goes over PCIe ({paths})",
                    numbers=numbers, groups=_named(groups), paths=paths, evidence=seen,
                    fix=step("Give one model GPUs of one group, with --gpus."))
    elif all(link_form(gpu) == "none" for gpu in chosen):
        yield noted("host", "no NVLink exists on {names}: GPUs {numbers} exchange data over PCIe ({paths})",
                    names=names, numbers=numbers, paths=paths, evidence=seen, fix=advice)
    elif all(isinstance(gpu.nvlinks, Unavailable) and gpu.nvlinks.kind in _UNSEEN for gpu in chosen):
        need(chosen[0].nvlinks)
    elif any(link_form(gpu) == "bridge" for gpu in chosen):
        yield noted("host", "no NVLink bridge is active on {names}: GPUs {numbers} exchange data over PCIe ({paths})",
                    names=names, numbers=numbers, paths=paths, evidence=seen, fix=advice)
    else:
        yield noted("host", "no NVLink is active: GPUs {numbers} exchange data over PCIe ({paths})",
                    numbers=numbers, paths=paths, evidence=seen, fix=advice)


def _groups(chosen: Sequence[Gpu]) -> list[list[Gpu]]:
    """Part the GPUs into those that NVLink joins; those that do not tell their neighbours count as joined."""
    groups: list[list[Gpu]] = []
    for gpu in chosen:
        near = [group for group in groups if any(_joined(gpu, other) for other in group)]
        for group in near:
            groups.remove(group)
        groups.append([*(other for group in near for other in group), gpu])
    return groups


def _joined(first: Gpu, second: Gpu) -> bool:
    return linked(first, second) or (_untold(first) and _untold(second))


def _untold(gpu: Gpu) -> bool:
    if any(isinstance(peer.nvlinks, int) for peer in gpu.peers):
        return False
    active = [link for link in gpu.nvlinks if link.active] if isinstance(gpu.nvlinks, tuple) else []
    return bool(active) and all(link.remote is None and link.remote_type in (None, "gpu") for link in active)


def _named(groups: Sequence[Sequence[Gpu]]) -> tuple[str, ...]:
    return tuple("+".join(str(gpu.index) for gpu in sorted(group, key=lambda g: g.index))
                 for group in groups if len(group) > 1) or ("none",)


def _pcie(gpu: Gpu) -> str:
    """The generation is the one it can do: at idle it runs lower."""
    generation, width = known(gpu.pcie.max_generation), known(gpu.pcie.width)
    if generation is None or width is None:
        return f"GPU {gpu.index}: generation and lanes not known"
    return f"GPU {gpu.index}: {generation}.0 x{width}"
