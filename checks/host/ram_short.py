"""Little host memory is available, or a control group gives less of it than the machine has.

## Why it matters
Engines read weights through host memory before they reach the GPU: tensor-parallel vLLM holds a shard per rank at a
time, loading without memory mapping holds the whole file. What does not fit ends in the kernel's OOM killer, minutes
into the start. A container's or service's limit counts, not what `free` shows on the host.

The rule: less than `ram_reserve_bytes` (4 GiB, ours) available is a warning. While no model is named, nothing is known
of its need; `gpudoctor fit MODEL` counts that. Host memory below the GPUs' own is only noted: a model that fills the
GPUs then does not stay in the file cache, and every restart reads it from disk.

## How to fix
Stop what holds the memory, or raise the limit of the container (`--memory`) or service (`MemoryMax=`). CPU and KV
offload (`--cpu-offload-gb`, `--swap-space`) come out of the same memory: lower them first.

## References
- https://docs.kernel.org/filesystems/proc.html
- https://docs.kernel.org/admin-guide/cgroup-v2.html
- https://github.com/vllm-project/vllm/issues/1395
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, Target, check, known, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.checking.finding import Evidence
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Memory


@check(gatekeeper_of="memory")
def ram_short(
    memory: Memory | Unavailable, gpus: Gpus | Unavailable, target: Target, policy: Policy
) -> Iterator[Finding]:
    """Judge what the kernel and the control group leave, whichever is less."""
    if isinstance(memory, Unavailable):
        said = skipped if memory.harmless else unknown
        yield said("host", "main memory could not be read: {reason}", reason=memory.reason)
        return
    available, limited = _available(memory)
    seen = _evidence(memory)
    if available < policy["ram_reserve_bytes"]:
        yield _short(memory, available, limited)
        return
    vram = _gpu_bytes(gpus, target)
    usable = min(memory.total_bytes, memory.cgroup_limit_bytes or memory.total_bytes)
    if vram and usable < policy["ram_vram_share_note"] * vram:
        yield noted(
            "host",
            "{usable:bytes} of host memory beside {vram:bytes} on the GPUs: a model that fills them is read from disk "
            "at every start",
            usable=usable,
            vram=vram,
            evidence=(*seen, saw("GPU memory bytes", vram, "nvmlDeviceGetMemoryInfo")),
        )
        return
    yield passed("host", "{available:bytes} of memory are available", available=available, evidence=seen)


def _short(memory: Memory, available: int, limited: bool) -> Finding:
    if limited:
        return warned(
            "host",
            "a limit leaves {available:bytes} of the machine's {total:bytes} of memory",
            available=available,
            total=memory.total_bytes,
            evidence=_evidence(memory),
            fix=step("Raise the limit: --memory of the container, mem_limit in Compose, MemoryMax= of the service."),
        )
    return warned(
        "host",
        "only {available:bytes} of {total:bytes} of memory are available",
        available=available,
        total=memory.total_bytes,
        evidence=_evidence(memory),
        fix=step("Look at what holds the memory, and stop it.", "ps -eo pid,rss,comm --sort=-rss | head"),
    )


def _available(memory: Memory) -> tuple[int, bool]:
    """Return the bytes that can still be had, and whether a control group is what limits them."""
    if memory.cgroup_limit_bytes is None:
        return memory.available_bytes, False
    left = max(0, memory.cgroup_limit_bytes - (memory.cgroup_used_bytes or 0))
    return min(left, memory.available_bytes), left < memory.available_bytes


def _evidence(memory: Memory) -> tuple[Evidence, ...]:
    seen = (saw("available bytes", memory.available_bytes, "/proc/meminfo"),)
    if memory.cgroup_limit_bytes is None:
        return seen
    return (*seen, saw("limit bytes", memory.cgroup_limit_bytes, "/sys/fs/cgroup"),
            saw("used under the limit bytes", memory.cgroup_used_bytes, "/sys/fs/cgroup"))


def _gpu_bytes(gpus: Gpus | Unavailable, target: Target) -> int:
    if isinstance(gpus, Unavailable):
        return 0
    return sum(known(gpu.memory_total_bytes) or 0 for gpu in gpus.answering if target.chosen(gpu.index))
