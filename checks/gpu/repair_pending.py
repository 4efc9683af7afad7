"""A repair inside the GPU waits for a reset.

## Why it matters
The GPU found a broken memory channel or processing cluster and will replace or switch it off at the next reset. Until
then the broken part is in use.

## How to fix
Reset the GPU before a long-running server is started on it; a reboot does the same.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
- https://docs.nvidia.com/deploy/xid-errors/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, need, passed, saw, warned
from gpudoctor.facts.gpus import Gpu
from gpudoctor.judging.remedies import reset_gpu

SOURCE = "nvmlDeviceGetRepairStatus"


@check()
def repair_pending(gpu: Gpu) -> Iterator[Finding]:
    """Judge both flags; one of them is enough."""
    channel, cluster = known(gpu.channel_repair_pending), known(gpu.tpc_repair_pending)
    if channel is None and cluster is None:
        need(gpu.channel_repair_pending)
    seen = (saw("memory channel repair pending", channel, SOURCE), saw("TPC repair pending", cluster, SOURCE))
    if channel or cluster:
        yield warned(
            gpu.subject,
            "{name}: a repair of {part} waits for a reset of the GPU",
            name=gpu.label,
            part="a memory channel" if channel else "a processing cluster",
            evidence=seen,
            fix=reset_gpu(gpu.index),
        )
    else:
        yield passed(gpu.subject, "no repair is pending", evidence=seen)
