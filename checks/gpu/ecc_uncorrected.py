"""The GPU met memory errors that ECC could not correct.

## Why it matters
The program that owned the memory was ended. On A100, H100 and B200 the error stays contained and the GPU can be used
until the reset that mends it; an error in SRAM, or on a card that cannot remap rows, may hit the next program too.

## How to fix
Reset the GPU before the next long-running server. If errors come back, read `gpu.row-remap-failed` and NVIDIA's RMA
rules. Errors of the card's past alone (aggregate counter) need nothing.

## References
- https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/index.html
- https://docs.nvidia.com/deploy/rma-process/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, known, need, noted, passed, saw, skipped, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import EccCounts, Gpu
from gpudoctor.judging.remedies import reset_gpu

SOURCE = "nvmlDeviceGetTotalEccErrors"


@check()
def ecc_uncorrected(gpu: Gpu) -> Iterator[Finding]:
    """Judge what came since the driver loaded; the card's history is information."""
    ecc = need(gpu.ecc)
    if ecc.enabled is False:
        yield skipped(gpu.subject, "ECC is off, so nothing is counted")
        return
    volatile, sram = _total(ecc.volatile), known(ecc.volatile.sram_uncorrected) or 0
    past = known(ecc.aggregate.uncorrected)
    seen = (
        saw("uncorrected since the driver loaded", volatile, SOURCE),
        saw("of these in SRAM", known(ecc.volatile.sram_uncorrected), SOURCE),
        saw("uncorrected over the card's life", past, SOURCE),
        saw("recovery action", known(gpu.recovery_action), "NVML field 230"),
    )
    if volatile and sram:
        yield failed(
            gpu.subject,
            "{name}: {count} uncorrected memory errors since the driver loaded, {sram} of them in SRAM",
            name=gpu.label,
            count=volatile,
            sram=sram,
            evidence=seen,
            fix=reset_gpu(gpu.index),
        )
    elif volatile and isinstance(gpu.row_remapping, Unavailable) and gpu.row_remapping.kind == "not-supported":
        yield failed(
            gpu.subject,
            "{name}: {count} uncorrected memory errors since the driver loaded, and this GPU cannot remap rows",
            name=gpu.label,
            count=volatile,
            evidence=seen,
            fix=reset_gpu(gpu.index),
        )
    elif volatile and known(gpu.recovery_action):
        yield failed(
            gpu.subject,
            "{name}: {count} uncorrected memory errors since the driver loaded, and the driver asks for recovery",
            name=gpu.label,
            count=volatile,
            evidence=seen,
            fix=reset_gpu(gpu.index),
        )
    elif volatile:
        yield warned(
            gpu.subject,
            "{name}: {count} uncorrected memory errors since the driver loaded; reset before launch",
            name=gpu.label,
            count=volatile,
            evidence=seen,
            fix=reset_gpu(gpu.index),
        )
    elif past:
        yield noted(
            gpu.subject,
            "{name}: {count} uncorrected memory errors in its life, none since the driver loaded",
            name=gpu.label,
            count=past,
            evidence=seen,
        )
    else:
        yield passed(gpu.subject, "no uncorrected memory errors", evidence=seen)


def _total(counts: EccCounts) -> int:
    parts = (known(counts.sram_uncorrected), known(counts.dram_uncorrected))
    split = sum(n for n in parts if n is not None)
    whole = known(counts.uncorrected)
    if whole is None and parts == (None, None):
        need(counts.uncorrected)
    return max(whole or 0, split)
