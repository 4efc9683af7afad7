"""The same GPU fell off the bus in several boots.

## Why it matters
A GPU that came back after a reboot looks healthy. When the same slot loses its GPU again and again, it will do so under
load, and the cause is rarely the driver: power supply and cables, riser, slot, heat, or the card.

## How to fix
Change one thing at a time: power cables and supply, riser, slot. If the fault follows the card, replace the card.

## References
- https://github.com/NVIDIA/open-gpu-kernel-modules/issues/1362
- https://docs.nvidia.com/deploy/gpu-debug-guidelines/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.judging.cards import by_address

FELL_OFF = 79
ENOUGH_BOOTS = 2


@check()
def lost_before(kernel_log: KernelLog, gpus: Gpus | Unavailable) -> Iterator[Finding]:
    """Count boots, not events: one loss writes many lines."""
    boots: dict[str, set[int]] = {}
    for event in kernel_log.of("xid", "fell-off-bus", boot=None):
        if event.code == FELL_OFF and event.address is not None:
            boots.setdefault(event.address, set()).add(event.boot)
    read = saw("boots in the log", kernel_log.boots, kernel_log.source)
    places = by_address(gpus)
    found = False
    for address, lost in sorted(boots.items()):
        if len(lost) < ENOUGH_BOOTS:
            continue
        found = True
        gpu = places.get(address)
        yield warned(
            gpu.subject if gpu is not None else f"pci:{address}",
            "the GPU at {address} fell off the bus in {lost} of the last {boots} boots",
            address=address,
            lost=len(lost),
            boots=max(kernel_log.boots, 1 - min(lost)),
            evidence=(read, saw("lost in the boots", tuple(sorted(lost)), kernel_log.source)),
            fix=step("Check its power cables and supply, the riser, the slot and the cooling; change one at a time."),
        )
    if not found and kernel_log.boots < ENOUGH_BOOTS:
        yield skipped("host", "only the log of this boot is kept", evidence=read)
    elif not found:
        yield passed("host", "no GPU fell off the bus in more than one boot", evidence=read)
