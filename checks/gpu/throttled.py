"""The GPU holds its clocks down because of heat or power.

## Why it matters
A GPU that throttles answers at a fraction of its speed and reports no error. NVML tells the reasons: heat (software or
hardware), a power brake from outside the card (power supply, server), or a hardware slowdown. A software power cap
under load is normal. Performance state P2 while computing is the driver's choice and no throttling. The driver also
counts the time for which heat held the clocks down since it was loaded: an idle GPU that shows such time was too hot
under its last load.

## How to fix
Heat: see `gpu.too-hot`. Power brake: power supply, cables, the server's power capping. At idle this check proves
little: run it again under load.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
- https://github.com/NVIDIA/DCGM
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, failed, known, need, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu

SOURCE = "nvmlDeviceGetCurrentClocksEventReasons"
IDLE, HARDWARE, SOFTWARE_THERMAL, HARDWARE_THERMAL, BRAKE = 0x1, 0x8, 0x20, 0x40, 0x80
#: Reasons that are no fault, by their names in NVML.
NORMAL = {
    0x2: "application clocks setting",
    0x4: "software power cap",
    0x10: "sync boost",
    0x100: "display clocks",
    0x200: "board limit",
    0x400: "reliability",
}
ENOUGH_SAMPLES = 5


@check()
def throttled(gpu: Gpu, policy: Policy) -> Iterator[Finding]:
    """Judge the reasons that most samples show; each is one bit of a mask."""
    samples = need(gpu.clock_event_samples)
    enough = len(samples) * policy["throttle_samples_share"]
    lasting = [bit for bit in (1 << n for n in range(64)) if sum(bool(mask & bit) for mask in samples) > enough]
    seen = (
        saw("reason masks", tuple(f"{mask:#x}" for mask in samples), SOURCE),
        saw("performance state (P2 is normal while computing)", known(gpu.performance_state), "NVML"),
        saw("SM clock now / highest in MHz", f"{known(gpu.sm_clock_mhz)} / {known(gpu.max_sm_clock_mhz)}", "NVML"),
        saw("temperature in degrees Celsius", known(gpu.temperature_celsius), "NVML"),
        saw("power in watts", known(gpu.power_watts), "NVML"),
        saw("seconds slowed by heat / by the power limit since the driver loaded",
            (_whole(gpu.thermal_slowdown_seconds), _whole(gpu.power_slowdown_seconds)), "nvmlDeviceGetViolationStatus"),
    )
    hot_before = known(gpu.thermal_slowdown_seconds) or 0
    name, subject = gpu.label, gpu.subject
    if len(samples) < ENOUGH_SAMPLES:
        yield skipped(subject, "only {count} samples of the reasons were taken", count=len(samples), evidence=seen)
    elif BRAKE in lasting:
        yield failed(
            subject, "{name} is slowed down by the power brake from outside the card", name=name, evidence=seen,
            fix=step("Check power supply, power cables and the server's power capping."),
        )
    elif HARDWARE_THERMAL in lasting or SOFTWARE_THERMAL in lasting:
        yield failed(
            subject, "{name} is slowed down by heat", name=name, evidence=seen,
            fix=step("Look at fans, air flow, dust and the room.",
                     "nvidia-smi -q -d TEMPERATURE,PERFORMANCE -i {index}", index=gpu.index),
        )
    elif HARDWARE in lasting:
        yield warned(
            subject, "{name}: a hardware slowdown lasts, without saying whether for heat or power", name=name,
            evidence=seen, fix=step("Check temperature and power supply; run this again under load."),
        )
    elif hot_before >= policy["thermal_slowdown_seconds"]:
        yield noted(
            subject, "{name}: heat held the clocks down for {time:seconds} since the driver loaded, not now",
            name=name, time=hot_before, evidence=seen,
            fix=step("Run this again under load; look at fans, air flow, dust and the room."),
        )
    elif reasons := tuple(NORMAL.get(bit, f"bit {bit:#x}") for bit in lasting if bit != IDLE):
        yield noted(
            subject, "{name}: clocks are held by: {reasons}; this is no fault", name=name, reasons=reasons,
            evidence=seen,
        )
    elif IDLE in lasting:
        yield passed(subject, "nothing slows the GPU down, but it is idle: this proves little", evidence=seen)
    else:
        yield passed(subject, "nothing slows the GPU down", evidence=seen)


def _whole(seconds: float | Unavailable) -> str:
    return "not known" if isinstance(seconds, Unavailable) else f"{seconds:.0f}"
