"""Nothing here records what the GPUs do.

## Why it matters
This is a note. Without figures over time nobody sees throttling at night, memory errors that grow, or that the model
server waits for the disk; `gpudoctor` sees one moment.

## How to fix
Add an exporter and scrape it: NVIDIA's DCGM exporter on data-centre cards, `nvidia_gpu_exporter` on GeForce, AMD's
device-metrics-exporter, each beside node_exporter. `gpudoctor check --format prometheus` feeds node_exporter's textfile
collector.

## References
- https://github.com/NVIDIA/dcgm-exporter
- https://github.com/utkuozdemir/nvidia_gpu_exporter
- https://github.com/ROCm/device-metrics-exporter
- https://github.com/prometheus/node_exporter
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, noted, passed, saw, skipped, step
from gpudoctor.checking.finding import Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.network import Processes
from gpudoctor.facts.pci import Pci

SOURCE = "process list"
_HOST_ONLY = ("node_exporter",)


@check()
def monitoring_absent(
    processes: Processes, host: Host | Unavailable, pci: Pci | Unavailable, target: Target
) -> Iterator[Finding]:
    """Look for an exporter or agent that knows GPUs."""
    seen = saw("exporters and agents running", processes.exporters, SOURCE)
    watching = tuple(name for name in processes.exporters if name not in _HOST_ONLY)
    if watching:
        yield passed("host", "{names} records the GPUs", names=watching, evidence=seen)
    elif target.installing:
        yield skipped("host", "a matter for after the installation", evidence=seen)
    elif isinstance(host, Host) and host.container is not None:
        yield skipped("host", "a container does not see the host's exporters", evidence=seen)
    elif isinstance(pci, Pci) and not pci.nvidia_gpus and not pci.amd_gpus:
        yield skipped("host", "no GPU to record", evidence=seen)
    else:
        yield noted("host", "no exporter records what the GPUs do over time", evidence=seen, fix=_add(pci))


def _add(pci: Pci | Unavailable) -> tuple[Step, ...]:
    if isinstance(pci, Pci) and pci.amd_gpus and not pci.nvidia_gpus:
        return (step("Run AMD's device-metrics-exporter and scrape port 5000."),)
    return (
        step("Run NVIDIA's dcgm-exporter (GeForce: nvidia_gpu_exporter) and scrape it."),
    )
