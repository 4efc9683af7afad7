"""The card's own information memory (inforom) is corrupt.

## Why it matters
The inforom keeps ECC history, page retirement and power settings. With a corrupt one the GPU usually works, but its
error counters cannot be trusted, and some settings do not survive a reboot.

## How to fix
Power the machine off and on. If it stays, ask the vendor: NVIDIA can write it anew, or replaces the card.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
- https://docs.nvidia.com/deploy/gpu-debug-guidelines/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, need, passed, saw, step, warned
from gpudoctor.facts.gpus import Gpu

SOURCE = "nvmlDeviceValidateInforom"


@check()
def inforom_corrupt(gpu: Gpu) -> Iterator[Finding]:
    """A warning only: usable GPUs were thrown out for it."""
    valid = need(gpu.inforom_valid)
    seen = saw("inforom valid", valid, SOURCE)
    if valid:
        yield passed(gpu.subject, "the inforom is valid", evidence=seen)
    else:
        yield warned(
            gpu.subject,
            "{name}: the inforom is corrupt, so its error counters cannot be trusted",
            name=gpu.label,
            evidence=seen,
            fix=(step("Power the machine off and on; if it stays, ask the vendor."),
                 step("Collect what the vendor asks for.", "sudo nvidia-bug-report.sh")),
        )
