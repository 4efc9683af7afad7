"""The GPU is at its slowdown temperature, or too close to it while idle.

## Why it matters
At its slowdown threshold the GPU halves its clocks or worse, and a little above it switches off. The threshold differs
by card, so 83 degrees Celsius is normal for one and the limit of another; newer cards tell the distance themselves.

## How to fix
Room, air flow, dust, fans, fan curve. Passive cards need a server's air flow. Until then lower the power limit:
`sudo nvidia-smi -i N -pl WATTS`.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
- https://github.com/leptonai/gpud
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, Policy, check, failed, known, need, passed, saw, step, warned
from gpudoctor.facts.gpus import Gpu
from gpudoctor.judging.cards import idle


@check()
def too_hot(gpu: Gpu, policy: Policy) -> Iterator[Finding]:
    """Judge the distance to slowdown: the card's own figure, else threshold minus temperature."""
    margin, temperature = known(gpu.thermal_margin_celsius), known(gpu.temperature_celsius)
    if margin is None:
        margin = need(gpu.slowdown_celsius) - need(gpu.temperature_celsius)
    resting = idle(gpu)
    seen = (
        *_temperature(gpu),
        saw("distance to slowdown in degrees Celsius", margin, "NVML"),
        saw("idle", resting, "nvmlDeviceGetUtilizationRates"),
    )
    cool = step("Look at fans, air flow, dust and the room.", "nvidia-smi -q -d TEMPERATURE,PERFORMANCE -i {index}",
                index=gpu.index)
    if margin <= 0:
        yield failed(
            gpu.subject,
            "{name} is at its slowdown temperature ({temperature} degrees Celsius)",
            name=gpu.label,
            temperature=temperature,
            evidence=seen,
            fix=(cool, step("Until then lower its power.", "sudo nvidia-smi -i {index} -pl {watts}", index=gpu.index,
                            watts=_lower(gpu), risk="slows this GPU down")),
        )
    elif resting and margin <= policy["thermal_margin_warn_celsius"]:
        yield warned(
            gpu.subject,
            "{name} is idle and only {margin} degrees Celsius below its slowdown temperature",
            name=gpu.label,
            margin=margin,
            evidence=seen,
            fix=cool,
        )
    else:
        yield passed(gpu.subject, "{margin} degrees Celsius below slowdown", margin=margin, evidence=seen)


def _temperature(gpu: Gpu) -> tuple[Evidence, ...]:
    return (saw("temperature in degrees Celsius", known(gpu.temperature_celsius), "nvmlDeviceGetTemperature"),
            saw("slowdown at", known(gpu.slowdown_celsius), "nvmlDeviceGetTemperatureThreshold"),
            saw("shutdown at", known(gpu.shutdown_celsius), "nvmlDeviceGetTemperatureThreshold"))


def _lower(gpu: Gpu) -> int:
    """Three quarters of the default: a start, rounded for the command line."""
    watts = known(gpu.power_default_watts) or known(gpu.power_limit_watts) or 200.0
    return int(watts * 0.75)
