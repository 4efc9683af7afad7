"""ECC corrects an unusual number of memory errors.

## Why it matters
Corrected errors cost nothing by themselves. Millions of them mean memory or cache cells that are wearing out, and
uncorrectable ones tend to follow. NVIDIA states no limit; the thresholds are those that cloud operators use.

## How to fix
Watch the counter. Run NVIDIA's field diagnostic, or `dcgmi diag -r 3`, when the machine is free.

## References
- https://github.com/Azure/azurehpc-health-checks
- https://docs.nvidia.com/deploy/rma-process/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, known, need, passed, saw, skipped, step, warned
from gpudoctor.facts.gpus import Gpu

SOURCE = "nvmlDeviceGetMemoryErrorCounter"


@check()
def ecc_corrected_high(gpu: Gpu, policy: Policy) -> Iterator[Finding]:
    """Compare DRAM and SRAM counters with their limits; the undivided counter is taken for DRAM."""
    ecc = need(gpu.ecc)
    if ecc.enabled is False:
        yield skipped(gpu.subject, "ECC is off, so nothing is counted")
        return
    counts = ecc.volatile
    sram = known(counts.sram_corrected)
    dram = known(counts.dram_corrected)
    if dram is None:
        dram = need(counts.corrected)
    limit, sram_limit = int(policy["ecc_corrected_dram"]), int(policy["ecc_corrected_sram"])
    seen = (
        saw("corrected in DRAM since the driver loaded", dram, SOURCE),
        saw("corrected in SRAM since the driver loaded", sram, SOURCE),
        saw("limits (DRAM / SRAM)", f"{limit} / {sram_limit}", "policy"),
    )
    watch = step("Run the diagnostic when the machine is free.", "sudo dcgmi diag -r 3", risk="uses the GPUs for long")
    if dram >= limit or (sram is not None and sram >= sram_limit):
        yield warned(
            gpu.subject,
            "{name}: {dram} corrected errors in DRAM and {sram} in SRAM since the driver loaded",
            name=gpu.label,
            dram=dram,
            sram=sram or 0,
            evidence=seen,
            fix=watch,
        )
    else:
        yield passed(gpu.subject, "corrected memory errors are few", evidence=seen)
