"""NVLinks of this GPU make errors.

## Why it matters
Errors on a link are repaired by sending again, which costs bandwidth; a link with many fails in the end, and takes the
job on all its GPUs with it (Xid 74).

## How to fix
Reseat the bridge or, on an SXM board, have the vendor look at GPU and board. `nvidia-smi nvlink -e` shows the counters.

## References
- https://github.com/NVIDIA/DCGM
- https://docs.nvidia.com/deploy/xid-errors/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, failed, known, need, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.gpus import Gpu, NvLink

SOURCE = "nvmlDeviceGetNvLinkErrorCounter"


@check()
def nvlink_errors(gpu: Gpu, policy: Policy) -> Iterator[Finding]:
    """Judge the growth of the CRC counter between two readings; totals are history."""
    links = [link for link in need(gpu.nvlinks) if link.active]
    if not links:
        yield skipped(gpu.subject, "no NVLink is up")
        return
    rates = {link.link: _rate(link) for link in links}
    growing = {number: rate for number, rate in rates.items() if rate}
    past = sum((known(n) or 0) for link in links for n in (link.replay_errors, link.recovery_errors))
    seen = (saw("CRC errors per second by link", tuple(f"{n}: {rate:g}" for n, rate in growing.items()), SOURCE),
            saw("replays and recoveries in all", past, SOURCE))
    look = (step("See the counters of every link.", "nvidia-smi nvlink -e -i {index}", index=gpu.index),
            step("Reseat the bridge; on an SXM board have the vendor look at it."))
    worst = max(growing.values(), default=0.0)
    if worst >= policy["nvlink_crc_per_second"]:
        yield failed(gpu.subject, "{name}: {rate:.0f} CRC errors per second on NVLink {ports}", name=gpu.label,
                     rate=worst, ports=tuple(str(n) for n in growing), evidence=seen, fix=look)
    elif growing:
        yield warned(gpu.subject, "{name}: errors grow on NVLink {ports}", name=gpu.label,
                     ports=tuple(str(n) for n in growing), evidence=seen, fix=look)
    elif past:
        yield noted(gpu.subject, "{name}: {past} replays or recoveries on NVLink in the past, no CRC error now",
                    name=gpu.label, past=past, evidence=seen)
    else:
        yield passed(gpu.subject, "the NVLinks are clean", evidence=seen)


def _rate(link: NvLink) -> float:
    first, later = known(link.crc_errors), known(link.crc_errors_later)
    if first is None or later is None or link.interval_seconds <= 0:
        return 0.0
    return max(0, later - first) / link.interval_seconds
