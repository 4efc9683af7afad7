"""A container asks for a GPU that the host does not have, or holds others than it asked for.

## Why it matters
Indices and identifiers change when a card is moved, replaced or divided. The container toolkit refuses a name that it
does not know.

## How to fix
Take the names from `nvidia-smi -L`; identifiers (GPU-...) outlive a change of order.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Container, Containers, Docker
from gpudoctor.facts.gpus import Gpus
from gpudoctor.judging.gpu_containers import asked_ids, gpu_minors, meant_for_gpus, named_gpu


@check()
def wrong_gpus(containers: Containers, docker: Docker, gpus: Gpus) -> Iterator[Finding]:
    """Compare what each container asked for with the host's GPUs, and with the nodes inside."""
    found = tuple((c, asked) for c in containers.containers
                  if not c.done and meant_for_gpus(c, docker) and (asked := asked_ids(c, docker)))
    if not gpus.gpus:
        yield skipped("host", "no NVIDIA GPU answers through NVML")
        return
    for each, asked in found:
        yield _judge(each, asked, gpus)
    if not found:
        yield skipped("host", "no container asks for GPUs by number or name")


def _judge(each: Container, asked: tuple[str, ...], gpus: Gpus) -> Finding:
    names = tuple(name for name in asked if not name.startswith("MIG-") and ":" not in name)
    told = all(isinstance(gpu.uuid, str) and gpu.uuid.startswith("GPU-") for gpu in gpus.gpus)
    # Redacted snapshots have no UUIDs to compare with.
    names = tuple(name for name in names if name.isdigit() or told)
    seen = (saw("asked for", ", ".join(asked), "docker inspect"), saw("GPUs of the host", len(gpus.gpus), "NVML"),
            saw("device nodes", None if isinstance(each.device_nodes, Unavailable) else each.device_nodes,
                "/proc/PID/root/dev"))
    absent = tuple(name for name in names if named_gpu(name, gpus) is None)
    fix = (step("List the GPUs with their identifiers, and name those: they outlive a change of order.",
                "nvidia-smi -L"), step("Then create the container anew."))
    if absent:
        return failed(each.subject, "it asks for GPU {absent}, which the host does not have", absent=absent,
                      evidence=seen, fix=fix)
    minors = gpu_minors(each)
    wanted = tuple(sorted({gpu.minor for name in names if (gpu := named_gpu(name, gpus)) is not None
                           and isinstance(gpu.minor, int)}))
    if not each.running or not minors or len(wanted) != len(set(names)) or len(names) != len(asked):
        return passed(each.subject, "the GPUs it asks for are here", evidence=seen)
    if each.privileged:
        return skipped(each.subject, "a privileged container sees every GPU's node", evidence=seen)
    if set(minors) != set(wanted):
        return failed(each.subject, "it asks for {asked} and holds the nodes of GPU {inside}", asked=asked,
                      inside=minors, evidence=seen, fix=fix)
    return passed(each.subject, "it holds exactly the GPUs it asked for", evidence=seen)
