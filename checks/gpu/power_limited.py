"""The GPU may draw less power than it was made for.

## Why it matters
A power limit below the default costs speed all the time. Somebody may have set it on purpose, for heat or noise or a
weak supply; a missing power cable does it too, and then the driver refuses the GPU.

## How to fix
On purpose: accept this finding in the configuration, with the reason. Else: `sudo nvidia-smi -i N -pl WATTS` with the
default. Refused for lack of power: connect every power plug of the card, each with its own cable.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
- https://github.com/Azure/azurehpc-health-checks
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, known, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus

NO_POWER = 8
#: Limits are reported in milliwatts and rounded by some drivers.
TOLERANCE_WATTS = 1.0


@check()
def power_limited(gpus: Gpus, target: Target) -> Iterator[Finding]:
    """Compare the limit in force with the default; NVML's code 8 is a missing power plug."""
    chosen = [gpu for gpu in gpus.gpus if target.chosen(gpu.index)]
    if not chosen:
        yield skipped("host", "no NVIDIA GPU answers through NVML")
    for gpu in chosen:
        if gpu.failure_code == NO_POWER:
            yield failed(
                gpu.subject,
                "{name} has too little power: a power plug of the card is not connected",
                name=gpu.label,
                evidence=saw("NVML return code", NO_POWER, "NVML"),
                fix=step("Power the machine off and connect every power plug of the card, each with its own cable."),
            )
        elif gpu.failure is not None:
            yield skipped(gpu.subject, "the GPU did not answer: {failure}", failure=gpu.failure)
        else:
            yield _limit(gpu)


def _limit(gpu: Gpu) -> Finding:
    enforced, default = known(gpu.power_enforced_watts), known(gpu.power_default_watts)
    if enforced is None:
        enforced = known(gpu.power_limit_watts)
    if enforced is None or default is None:
        fact = gpu.power_default_watts if default is None else gpu.power_enforced_watts
        reason = fact.reason if isinstance(fact, Unavailable) else ""
        if isinstance(fact, Unavailable) and not fact.harmless:
            return unknown(gpu.subject, "could not be read: {reason}", reason=reason)
        return skipped(gpu.subject, "nothing to judge: {reason}", reason=reason)
    seen = (saw("limit in force in watts", enforced, "nvmlDeviceGetEnforcedPowerLimit"),
            saw("default limit in watts", default, "nvmlDeviceGetPowerManagementDefaultLimit"))
    if enforced < default - TOLERANCE_WATTS:
        return warned(
            gpu.subject,
            "{name} may draw {enforced:.0f} W, its default is {default:.0f} W",
            name=gpu.label,
            enforced=enforced,
            default=default,
            evidence=seen,
            fix=step("If that is not on purpose, set the default.", "sudo nvidia-smi -i {index} -pl {watts}",
                     index=gpu.index, watts=int(default)),
        )
    return passed(gpu.subject, "the power limit is not below the default", evidence=seen)
