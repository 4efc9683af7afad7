"""The GPU's PCIe link sends data again and again, or reports errors.

## Why it matters
Every replay is a packet that arrived broken. A few are normal; a steady rate slows the link and is the first sign of a
bad riser, slot or retimer, often weeks before the GPU falls off the bus.

## How to fix
Power off, reseat the card, clean the slot, replace the riser or cable. A lower PCIe generation in the firmware hides it
at the price of speed.

## References
- https://github.com/NVIDIA/DCGM
- https://docs.kernel.org/PCI/pcieaer-howto.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, Step, check, known, need, noted, passed, saw, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu
from gpudoctor.facts.kernel_log import KernelEvent, KernelLog
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.cards import address

DEFAULT_LANES = 16


@check()
def pcie_replays(
    gpu: Gpu, kernel_log: KernelLog | Unavailable, pci: Pci | Unavailable, policy: Policy
) -> Iterator[Finding]:
    """Judge the rate per lane between two readings, and the kernel's error reports on the way to the GPU."""
    rate = _rate(gpu)
    errors = _errors(gpu, kernel_log, pci)
    broken = [event for event in errors if event.fatal is not None or "can't recover" in event.text]
    if rate is None and not errors:
        need(gpu.pcie.replays)
        need(gpu.pcie.replays_later)
    seen = (
        saw("replays in all", known(gpu.pcie.replays_later), "nvmlDeviceGetPcieReplayCounter"),
        saw("replays per lane and minute", rate, "nvmlDeviceGetPcieReplayCounter"),
        *(saw("line", event.text, "kernel log") for event in errors[:3]),
    )
    if rate is not None and rate > policy["pcie_replays_per_lane_minute"]:
        yield warned(gpu.subject, "{name}: {rate:.0f} PCIe replays per lane and minute", name=gpu.label, rate=rate,
                     evidence=seen, fix=_reseat())
    elif broken:
        yield warned(gpu.subject, "{name}: the kernel reports {count} uncorrected PCIe errors", name=gpu.label,
                     count=sum(event.count for event in broken), evidence=seen, fix=_reseat())
    elif errors:
        yield noted(gpu.subject, "{name}: the kernel reports {count} corrected PCIe errors", name=gpu.label,
                    count=sum(event.count for event in errors), evidence=seen)
    else:
        yield passed(gpu.subject, "the PCIe link is clean", evidence=seen)


def _rate(gpu: Gpu) -> float | None:
    first, later, seconds = known(gpu.pcie.replays), known(gpu.pcie.replays_later), gpu.pcie.replay_interval_seconds
    if first is None or later is None or seconds <= 0:
        return None
    lanes = known(gpu.pcie.width) or DEFAULT_LANES
    return round(max(0, later - first) / seconds * 60 / lanes, 2)


def _errors(gpu: Gpu, log: KernelLog | Unavailable, pci: Pci | Unavailable) -> list[KernelEvent]:
    """Return reports about the GPU itself and the bridges above it."""
    place = address(gpu)
    if isinstance(log, Unavailable) or place is None:
        return []
    bridges: tuple[str, ...] = ()
    if isinstance(pci, Pci):
        bridges = next((d.upstream for d in pci.nvidia_gpus if d.address.lower().startswith(place)), ())
    return [
        event
        for event in log.of("pcie-error")
        if event.address == place or any(bridge.lower() in event.text.lower() for bridge in bridges)
    ]


def _reseat() -> Step:
    return step("Power off, reseat the card, clean the slot and replace the riser.")
