"""The GPU's PCIe link stays below its generation or width while it is loaded.

## Why it matters
A link slows down at idle to save power and speeds up under load; one that does not speed up loads models and exchanges
tensor-parallel data at a fraction of its rate. Only a copy in progress can show it, so this needs --deep.

## How to fix
Set the slot's generation to automatic in the firmware, update the firmware, try without the riser. A riser made for
PCIe 3.0 makes a 4.0 link fall back.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
- https://github.com/janhq/jan/issues/183
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda import Cuda, CudaGpu
from gpudoctor.facts.gpus import Gpu, Gpus

#: Gigabytes per second and lane that each generation carries at best.
LANE_GB_S = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}


@check(deep=True)
def pcie_slow(cuda: Cuda, gpus: Gpus) -> Iterator[Finding]:
    """Compare the link under the deep probe's copy with the most that card and system can do."""
    tested = {result.index: result for result in cuda.gpus}
    for gpu in gpus.answering:
        if gpu.index in tested:
            yield _judge(gpu, tested[gpu.index])
    if not any(gpu.index in tested for gpu in gpus.answering):
        yield skipped("host", "no GPU was tested")


def _judge(gpu: Gpu, result: CudaGpu) -> Finding:
    if result.refused is not None:
        return skipped(gpu.subject, "it was not tested: {reason}", reason=result.refused)
    generation, width = known(result.loaded_generation), known(result.loaded_width)
    most, widest = known(gpu.pcie.max_generation), known(gpu.pcie.max_width)
    seen = (
        saw("generation and lanes under load", f"{generation} x{width}", "NVML during the copy"),
        saw("most that card and system can do", f"{most} x{widest}", "nvmlDeviceGetMaxPcieLinkGeneration"),
        saw("to the GPU in gigabytes per second", _gigabytes(result.host_to_device_bytes_per_second), "deep probe"),
        saw("from the GPU in gigabytes per second", _gigabytes(result.device_to_host_bytes_per_second), "deep probe"),
        saw("the link carries at best", _best(generation, width), "PCIe specification"),
    )
    if generation is None or width is None or most is None:
        why = result.failure or result.error or "the link under load could not be read"
        return unknown(gpu.subject, "not judged: {reason}", reason=why, evidence=seen)
    if generation < most or (widest is not None and width < widest):
        return warned(
            gpu.subject,
            "{name}: under load the link runs at PCIe {generation}.0 x{width}, it could do {most}.0 x{widest}",
            name=gpu.label, generation=generation, width=width, most=most, widest=widest, evidence=seen,
            fix=(step("Set the slot's PCIe generation to automatic in the firmware; try without the riser."),
                 step("See what the bridge above it allows.", "sudo lspci -vv -s {address}",
                      address=known(gpu.pci_address) or "")),
        )
    return passed(gpu.subject, "under load the link runs at PCIe {generation}.0 x{width}", generation=generation,
                  width=width, evidence=seen)


def _gigabytes(rate: float | Unavailable) -> float | None:
    value = known(rate)
    return None if value is None else round(value / 1e9, 1)


def _best(generation: int | None, width: int | None) -> float | None:
    lane = LANE_GB_S.get(generation or 0)
    return None if lane is None or width is None else round(lane * width, 1)
