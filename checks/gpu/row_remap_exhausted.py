"""The GPU has few spare memory rows left.

## Why it matters
Every memory bank has eight spare rows. A bank without any cannot mend its next bad row, and that GPU then needs
replacement. The number of rows already remapped says nothing by itself: they work.

## How to fix
Plan a replacement. 512 rows remapped for uncorrectable errors is DCGM's limit: replace now.

## References
- https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/index.html
- https://github.com/NVIDIA/DCGM
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, failed, known, need, passed, saw, step, warned
from gpudoctor.facts.gpus import Gpu


@check()
def row_remap_exhausted(gpu: Gpu, policy: Policy) -> Iterator[Finding]:
    """Judge the spare rows that are left; counts below DCGM's limit are history."""
    rows = need(gpu.row_remapping)
    banks, limit = known(rows.banks_exhausted), int(policy["row_remap_uncorrectable"])
    seen = (saw("rows remapped for uncorrectable errors", rows.uncorrected, "nvmlDeviceGetRemappedRows"),
            saw("banks without a spare row", banks, "nvmlDeviceGetRowRemapperHistogram"))
    collect = step("Collect what the vendor asks for.", "sudo nvidia-bug-report.sh")
    if rows.uncorrected >= limit:
        yield failed(
            gpu.subject,
            "{name}: {rows} memory rows remapped for uncorrectable errors, the limit is {limit}",
            name=gpu.label,
            rows=rows.uncorrected,
            limit=limit,
            evidence=seen,
            fix=collect,
        )
    elif banks:
        yield warned(
            gpu.subject,
            "{name}: {banks} memory banks have no spare row left",
            name=gpu.label,
            banks=banks,
            evidence=seen,
            fix=(step("Plan its replacement; until then it works."), collect),
        )
    else:
        yield passed(gpu.subject, "spare memory rows are left", evidence=seen)
