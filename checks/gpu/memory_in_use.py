"""Other programs hold this GPU's memory.

## Why it matters
vLLM refuses to start when less than its share of the whole memory is free (0.9 by default), even when the model would
fit. llama.cpp and Ollama put fewer layers on the GPU instead, and answer many times slower.

## How to fix
Stop the programs that the finding names, or lower the engine's share (`--gpu-memory-utilization`). A desktop's few
hundred MiB stay: count them in. Memory without any program is held by one in another container, or by a dead one.

## References
- https://github.com/vllm-project/vllm/issues/20305
- https://github.com/pytorch/pytorch/issues/175666
"""

from collections.abc import Iterator, Sequence

from gpudoctor.checking import (
    Evidence,
    Finding,
    Policy,
    Step,
    Target,
    check,
    failed,
    known,
    need,
    noted,
    passed,
    saw,
    skipped,
    step,
    warned,
)
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, GpuProcess
from gpudoctor.facts.host import Host

SOURCE = "nvmlDeviceGetMemoryInfo_v2"
DESKTOP = ("xorg", "xwayland", "gnome-shell", "kwin", "plasmashell", "mutter", "sway", "hyprland", "weston", "gdm",
           "sddm", "lightdm", "cinnamon", "xfwm4", "nvidia-persistenced")
#: With less than this nobody serves a model.
LEAST_SHARE = 0.3
#: The older call counts the driver's reserved memory as used.
RESERVED_ALLOWANCE_BYTES = 2**30


@check()
def memory_in_use(gpu: Gpu, host: Host | Unavailable, target: Target, policy: Policy) -> Iterator[Finding]:
    """Judge vLLM's own start rule when vLLM is wanted, else memory that strangers hold."""
    total, free = need(gpu.memory_total_bytes), need(gpu.memory_free_bytes)
    mig = known(gpu.mig)
    processes = known(gpu.processes) or ()
    strangers = [p for p in processes if not _desktop(p)]
    desktop = sorted({_short(p) for p in processes if _desktop(p)})
    named = _named(strangers)
    seen = (saw("free bytes", free, SOURCE), saw("total bytes", total, SOURCE), *_evidence(processes))
    if mig is not None and mig.enabled and known(mig.instances) != 0:
        yield skipped(gpu.subject, "under MIG each instance has its own memory", evidence=seen)
        return
    asked = int(total * policy["memory_share_needed"])
    foreign, hidden = _held(strangers), _hidden(gpu, processes)
    limit = policy["memory_in_use_bytes"]
    look = step("See what they are.", "nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv -i {index}",
                index=gpu.index)
    if free < asked and any(engine.name == "vllm" for engine in target.engines):
        yield failed(
            gpu.subject,
            "{name}: {free:bytes} of {total:bytes} are free, vLLM wants {asked:bytes} at start; held by {processes}",
            name=gpu.label, free=free, total=total, asked=asked,
            processes=named or tuple(desktop) or ("a program that is not visible from here",),
            evidence=seen,
            fix=(look, step("Stop what is not needed."), *_smaller_share(free, total)),
        )
    elif foreign > limit:
        yield warned(gpu.subject, "{name}: {foreign:bytes} are held by {processes}", name=gpu.label, foreign=foreign,
                     processes=named, evidence=seen, fix=(look, step("Stop what is not needed.")))
    elif hidden > limit and isinstance(host, Host) and host.wsl:
        yield noted(gpu.subject, "{name}: {hidden:bytes} are held by Windows and its programs", name=gpu.label,
                    hidden=hidden, evidence=seen)
    elif hidden > limit:
        yield warned(
            gpu.subject, "{name}: {hidden:bytes} are held by no program that is visible from here", name=gpu.label,
            hidden=hidden, evidence=seen,
            fix=(step("See as root which programs have the GPU open.", "sudo fuser -v /dev/nvidia*"),
                 step("Look into the other containers on this machine.", "docker ps")),
        )
    elif desktop:
        yield noted(gpu.subject, "{name}: a desktop runs on it: {desktop}", name=gpu.label, desktop=tuple(desktop),
                    evidence=seen)
    else:
        yield passed(gpu.subject, "{free:bytes} of {total:bytes} are free", free=free, total=total, evidence=seen)


def _smaller_share(free: int, total: int) -> tuple[Step, ...]:
    share = int(free / total * 100) / 100 if total else 0.0
    if share < LEAST_SHARE:
        return ()
    return (step("Or start vLLM with --gpu-memory-utilization {share:.2f} or less.", share=share),)


def _short(process: GpuProcess) -> str:
    return (process.name or "unknown").replace("\\", "/").rpartition("/")[2][:64] or "unknown"


def _desktop(process: GpuProcess) -> bool:
    return process.kind == "graphics" or _short(process).lower().startswith(DESKTOP)


def _held(processes: Sequence[GpuProcess]) -> int:
    return sum({p.pid: p.used_bytes or 0 for p in processes}.values())


def _named(processes: Sequence[GpuProcess]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{_short(p)} ({', '.join(_marks(p))})" for p in processes))


def _marks(process: GpuProcess) -> list[str]:
    container = f"container {process.container}" if process.container else None
    return [mark for mark in (f"pid {process.pid}", process.user, container) if mark]


def _hidden(gpu: Gpu, processes: Sequence[GpuProcess]) -> int:
    """Memory in use that no visible process accounts for; unknown when a process does not tell its own."""
    used = known(gpu.memory_used_bytes)
    if used is None or any(p.used_bytes is None for p in processes):
        return 0
    allowance = RESERVED_ALLOWANCE_BYTES if isinstance(gpu.memory_reserved_bytes, Unavailable) else 0
    return max(0, used - _held(processes) - allowance)


def _evidence(processes: Sequence[GpuProcess]) -> tuple[Evidence, ...]:
    return tuple(saw(f"{_short(p)} (pid {p.pid}) bytes", p.used_bytes, "nvmlDeviceGetComputeRunningProcesses_v3")
                 for p in processes[:8])
