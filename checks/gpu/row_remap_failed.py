"""A row of the GPU's memory could not be replaced by a spare one.

## Why it matters
A bank has used its spare rows, or a replaced row failed again. The bad row stays in use: programs on this GPU will die
of uncorrectable errors. This flag, with the field diagnostic, is NVIDIA's criterion for replacement.

## How to fix
Take the GPU out of use and open an RMA case. Until then leave it out with `--gpus` and CUDA_VISIBLE_DEVICES.

## References
- https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/index.html
- https://docs.nvidia.com/deploy/rma-process/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, need, passed, saw, step
from gpudoctor.facts.gpus import Gpu

SOURCE = "nvmlDeviceGetRemappedRows"


@check()
def row_remap_failed(gpu: Gpu) -> Iterator[Finding]:
    """Judge the failure flag alone."""
    rows = need(gpu.row_remapping)
    seen = (saw("remapping failed", rows.failed, SOURCE),
            saw("rows remapped (corrected / uncorrected)", f"{rows.corrected} / {rows.uncorrected}", SOURCE))
    if rows.failed:
        yield failed(
            gpu.subject,
            "{name}: a memory row could not be remapped: a case for replacement",
            name=gpu.label,
            evidence=seen,
            fix=step("Take the GPU out of use and collect what the vendor asks for.", "sudo nvidia-bug-report.sh"),
        )
    else:
        yield passed(gpu.subject, "no row remapping has failed", evidence=seen)
