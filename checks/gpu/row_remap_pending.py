"""A row of the GPU's memory waits to be remapped, which happens at the next reset.

## Why it matters
After an uncorrectable memory error the GPU replaces the bad row by a spare one, but only when it is reset. On A100,
H100 and B200 the page is taken out of use meanwhile, so other work may go on. Other cards have no page offlining in
NVIDIA's table: the bad row stays in use and may end a program.

## How to fix
Reset the GPU at the next idle moment, before a long-running server is started on it:
`sudo nvidia-smi --gpu-reset -i N`. A reboot does the same.

## References
- https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, need, passed, saw, skipped, warned
from gpudoctor.facts.gpus import Gpu
from gpudoctor.judging.remedies import reset_gpu

SOURCE = "nvmlDeviceGetRemappedRows"


@check()
def row_remap_pending(gpu: Gpu) -> Iterator[Finding]:
    """Judge the pending flag alone: the counts are history."""
    rows = need(gpu.row_remapping)
    mig = known(gpu.mig)
    counts = saw("rows remapped (corrected / uncorrected)", f"{rows.corrected} / {rows.uncorrected}", SOURCE)
    if mig is not None and mig.enabled and (known(mig.instances) or 0) > 0:
        yield skipped(gpu.subject, "MIG instances are in use; the flag is not judged under MIG", evidence=counts)
    elif rows.pending:
        yield warned(
            gpu.subject,
            "{name}: a row remapping waits for a reset of the GPU",
            name=gpu.label,
            evidence=(saw("remapping pending", True, SOURCE), counts),
            fix=reset_gpu(gpu.index),
        )
    else:
        yield passed(gpu.subject, "no row remapping is pending", evidence=counts)
