"""The power supply is too small for these GPUs.

## Why it matters
Under load every GPU may draw its limit, for milliseconds twice that. A supply without headroom switches off, or a GPU
falls off the bus (Xid 79), typically when several start to compute at the same moment.

## How to fix
A larger supply, or a lower power limit on each GPU: `sudo nvidia-smi -pl WATTS`; four fifths of
the default cost little speed.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
- https://docs.nvidia.com/deploy/xid-errors/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import (
    Finding,
    Policy,
    Step,
    Target,
    check,
    failed,
    known,
    passed,
    saw,
    skipped,
    step,
    unknown,
    warned,
)
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.judging.cards import card

#: Below this share of its limit a GPU loses more speed than anybody would accept.
LEAST_SHARE = 0.6


@check()
def psu_short(gpus: Gpus, target: Target, policy: Policy) -> Iterator[Finding]:
    """Add up the limits of all GPUs and the rest of the machine; only when the supply was given."""
    watts = [_watts(gpu) for gpu in gpus.gpus]
    total = sum(w for w in watts if w is not None)
    system = policy["system_watts"]
    if target.psu_watts is None:
        yield skipped("host", "the power supply was not given (--psu-watts); the GPUs together may draw {total:.0f} W",
                      total=total)
        return
    if not watts:
        yield skipped("host", "no NVIDIA GPU answers through NVML")
        return
    if None in watts:
        silent = tuple(str(gpu.index) for gpu, w in zip(gpus.gpus, watts, strict=True) if w is None)
        yield unknown("host", "the power of these GPUs is not known: {silent}", silent=silent)
        return
    need_watts = total + system
    seen = (saw("sum of the GPUs' power limits in watts", total, "nvmlDeviceGetEnforcedPowerLimit, GPU table"),
            saw("rest of the machine in watts", system, "policy"),
            saw("power supply in watts", target.psu_watts, "--psu-watts"))
    fitting = int((target.psu_watts * (1 - policy["psu_reserve_share"]) - system) / len(watts))
    lower: tuple[Step, ...] = (step("Take a larger supply."),)
    if fitting >= LEAST_SHARE * max(w for w in watts if w is not None):
        lower = (*lower, step("Or lower each GPU's limit to {watts} W.", "sudo nvidia-smi -pl {watts}", watts=fitting,
                              risk="slows the GPUs down; lasts until the next reboot"))
    if need_watts > target.psu_watts:
        yield failed(
            "host",
            "the GPUs and the machine may draw {need:.0f} W, the supply gives {psu} W",
            need=need_watts, psu=target.psu_watts, evidence=seen, fix=lower,
        )
    elif need_watts > target.psu_watts * (1 - policy["psu_reserve_share"]):
        yield warned(
            "host",
            "the GPUs and the machine may draw {need:.0f} W of the supply's {psu} W: too little is left for peaks",
            need=need_watts, psu=target.psu_watts, evidence=seen, fix=lower,
        )
    else:
        yield passed("host", "{need:.0f} W of the supply's {psu} W may be drawn", need=need_watts,
                     psu=target.psu_watts, evidence=seen)


def _watts(gpu: Gpu) -> float | None:
    """The limit in force; for a GPU that does not tell, the product's figure."""
    told = known(gpu.power_enforced_watts) or known(gpu.power_limit_watts) or known(gpu.power_default_watts)
    product = card(gpu)
    return told or (product.tdp_watts if product is not None else None)
