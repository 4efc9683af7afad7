"""The GPU's memory is at its temperature limit, or close to it.

## Why it matters
HBM and GDDR6X have their own limit. At it the GPU slows down although its core is cool, and memory errors become more
likely. Cards with GDDR6X in tight boxes are known for it.

## How to fix
Air flow over the back of the card, thermal pads, fan curve; until then a lower power limit.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlFieldValueEnums.html
- https://github.com/leptonai/gpud
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, failed, need, passed, saw, step, warned
from gpudoctor.facts.gpus import Gpu


@check()
def memory_too_hot(gpu: Gpu, policy: Policy) -> Iterator[Finding]:
    """Compare the memory's temperature with its own limit."""
    temperature, limit = need(gpu.memory_temperature_celsius), need(gpu.memory_max_celsius)
    seen = (saw("memory temperature in degrees Celsius", temperature, "NVML field 82"),
            saw("memory limit in degrees Celsius", limit, "nvmlDeviceGetTemperatureThreshold"))
    cool = step("Improve the air flow over the card, or lower its power limit.")
    if temperature >= limit:
        yield failed(
            gpu.subject,
            "{name}: the memory is at {temperature} degrees Celsius, its limit is {limit}",
            name=gpu.label, temperature=temperature, limit=limit, evidence=seen, fix=cool,
        )
    elif temperature >= limit - policy["memory_margin_warn_celsius"]:
        yield warned(
            gpu.subject,
            "{name}: the memory is at {temperature} degrees Celsius, close to its limit of {limit}",
            name=gpu.label, temperature=temperature, limit=limit, evidence=seen, fix=cool,
        )
    else:
        yield passed(gpu.subject, "the memory is {margin} degrees Celsius below its limit", margin=limit - temperature,
                     evidence=seen)
