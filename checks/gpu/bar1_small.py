"""The GPU's memory window on the bus (BAR1) is small.

## Why it matters
Other devices reach a GPU's memory through BAR1. With 256 MiB of it, direct exchange between GPUs over PCIe goes through
a keyhole, and drivers that allow peer-to-peer on GeForce need all of the memory in it. One GPU alone never notices.

## How to fix
Switch on "Above 4G decoding" and "Resizable BAR" in the firmware. Data-centre cards can be switched with NVIDIA's
displaymodeselector tool.

## References
- https://github.com/NVIDIA/open-gpu-kernel-modules/discussions/862
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, Target, check, known, need, passed, saw, skipped, step, warned
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.judging.cards import card, linked, wanted_together

SOURCE = "nvmlDeviceGetBAR1MemoryInfo"


@check()
def bar1_small(gpu: Gpu, gpus: Gpus, target: Target, policy: Policy) -> Iterator[Finding]:
    """Warn only where GPUs are to exchange data over PCIe; GeForce drivers allow no peer-to-peer anyway."""
    window, memory = need(gpu.bar1_total_bytes), known(gpu.memory_total_bytes)
    seen = (saw("BAR1 bytes", window, SOURCE), saw("memory bytes", memory, "nvmlDeviceGetMemoryInfo_v2"))
    product = card(gpu)
    others = [other for other in wanted_together(gpus, target) if other.index != gpu.index]
    if memory is None or window >= memory * policy["bar1_share"]:
        yield passed(gpu.subject, "BAR1 covers {window:bytes}", window=window, evidence=seen)
    elif not others or all(linked(gpu, other) for other in others):
        yield passed(gpu.subject, "BAR1 covers {window:bytes}; no exchange over PCIe is asked for", window=window,
                     evidence=seen)
    elif product is not None and product.kind == "geforce":
        yield skipped(gpu.subject, "the driver allows GeForce cards no peer-to-peer, so BAR1 does not matter",
                      evidence=seen)
    else:
        yield warned(gpu.subject, "{name}: BAR1 covers {window:bytes} of {memory:bytes}: peer-to-peer is slow or off",
                     name=gpu.label, window=window, memory=memory, evidence=seen,
                     fix=step('Switch on "Above 4G decoding" and "Resizable BAR" in the firmware.'))
