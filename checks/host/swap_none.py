"""There is no swap, and the GPUs hold more than main memory does.

## Why it matters
This is a note, no fault: servers often run without swap on purpose. It matters only where a model can be larger than
main memory: loading without memory mapping (PyTorch `.bin` files, conversion, quantization) then needs room that is
not there, and the OOM killer ends it at once instead of the machine growing slow.

## How to fix
Prefer formats that are memory-mapped (safetensors, GGUF). Else add a swap file for the time of the conversion; it is a
stop-gap, not memory.

## References
- https://docs.kernel.org/admin-guide/mm/concepts.html
- https://huggingface.co/docs/safetensors/index
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, known, noted, passed, saw, skipped, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host, Memory
from gpudoctor.judging.remedies import fitting


@check()
def swap_none(memory: Memory, gpus: Gpus, host: Host | Unavailable, target: Target) -> Iterator[Finding]:
    """Note missing swap only where a model can be larger than main memory."""
    usable = min(memory.total_bytes, memory.cgroup_limit_bytes or memory.total_bytes)
    vram = sum(known(gpu.memory_total_bytes) or 0 for gpu in gpus.answering if target.chosen(gpu.index))
    seen = (
        saw("swap bytes", memory.swap_total_bytes, "/proc/meminfo"),
        saw("memory bytes", usable, "/proc/meminfo"),
        saw("GPU memory bytes", vram, "nvmlDeviceGetMemoryInfo"),
    )
    if memory.swap_total_bytes:
        yield passed("host", "{swap:bytes} of swap", swap=memory.swap_total_bytes, evidence=seen)
    elif not vram:
        yield skipped("host", "the GPUs' memory is not known", evidence=seen)
    elif usable >= vram:
        yield passed("host", "no swap, and none is needed: main memory holds what the GPUs can", evidence=seen)
    else:
        yield noted(
            "host",
            "no swap: a model of the GPUs' {vram:bytes} does not fit main memory ({usable:bytes}) when it is converted "
            "or loaded without memory mapping",
            vram=vram,
            usable=usable,
            evidence=seen,
            fix=fitting(
                host,
                other=step(
                    "If you convert models here, add a swap file.",
                    "sudo fallocate -l 64G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile "
                    "&& sudo swapon /swapfile",
                    risk="takes 64 GB of the root volume",
                ),
                nixos=step("If you convert models here, set swapDevices in the configuration, then rebuild.",
                           "sudo nixos-rebuild switch"),
            ),
        )
