"""The GPU's own limit of uncorrectable SRAM errors is passed.

## Why it matters
NVIDIA counts uncorrectable errors per SRAM block and raises a flag when a block has too many. The flag makes the card
a case for replacement; until then errors will end programs again.

## How to fix
Open an RMA case with the vendor, with the output of `nvidia-bug-report.sh`. Use another GPU meanwhile.

## References
- https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/index.html
- https://docs.nvidia.com/deploy/rma-process/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, need, passed, saw, step, warned
from gpudoctor.facts.gpus import Gpu

SOURCE = "nvmlDeviceGetSramEccErrorStatus"


@check()
def sram_ecc_threshold(gpu: Gpu) -> Iterator[Finding]:
    """Judge the flag that the GPU raises."""
    exceeded = need(need(gpu.ecc).sram_threshold_exceeded)
    seen = saw("SRAM error threshold exceeded", exceeded, SOURCE)
    if exceeded:
        yield warned(
            gpu.subject,
            "{name} has passed its limit of uncorrectable SRAM errors: a case for replacement",
            name=gpu.label,
            evidence=seen,
            fix=step("Collect what the vendor asks for.", "sudo nvidia-bug-report.sh"),
        )
    else:
        yield passed(gpu.subject, "SRAM errors are below the GPU's own limit", evidence=seen)
