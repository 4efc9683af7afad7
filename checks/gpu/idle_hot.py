"""The GPU is warm although it is idle and its fans stand still.

## Why it matters
Many cards stop their fans below some 50 degrees Celsius, so this is a note and no fault. In a closed case it can mean
that heat from a neighbour is not carried away, and that the GPU starts every load half warm.

## How to fix
If temperatures rise quickly under load: a fan curve that never stops, or more air through the case.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, need, noted, passed, saw, skipped
from gpudoctor.facts.gpus import Gpu
from gpudoctor.judging.cards import idle


@check()
def idle_hot(gpu: Gpu, policy: Policy) -> Iterator[Finding]:
    """Note a warm idle GPU; passive cards have no fan figure and are left out."""
    fan, temperature = need(gpu.fan_percent), need(gpu.temperature_celsius)
    seen = (saw("fan in per cent", fan, "nvmlDeviceGetFanSpeed"),
            saw("temperature in degrees Celsius", temperature, "nvmlDeviceGetTemperature"))
    if idle(gpu) is not True:
        yield skipped(gpu.subject, "the GPU is not idle", evidence=seen)
    elif fan == 0 and temperature > policy["idle_hot_celsius"]:
        yield noted(
            gpu.subject,
            "{name} is idle at {temperature} degrees Celsius and its fans stand still",
            name=gpu.label,
            temperature=temperature,
            evidence=seen,
        )
    else:
        yield passed(gpu.subject, "{temperature} degrees Celsius at idle", temperature=temperature, evidence=seen)
