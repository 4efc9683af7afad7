"""A GPU that the driver lists does not answer.

## Why it matters
NVML reaches the GPU no more, or hangs on it. Programs that touch it fail or hang in the kernel, where nothing can end
them, and some engines hang at start even when they are told to use other GPUs.

## How to fix
"Reset required": reset that GPU. "Lost": it fell off the bus, so power the machine off and on (a reboot often does not
bring it back). When it happens again: reseat the card and its power cables, then have it replaced.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html
- https://docs.nvidia.com/deploy/gpu-debug-guidelines/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, Step, Target, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.judging.remedies import reset_gpu

LOST, RESET_REQUIRED = 15, 16
#: What every GPU can tell; NVML's "not supported" is normal even here (memory of a system on chip).
ESSENTIAL = ("name", "memory_total_bytes", "temperature_celsius")


@check()
def not_responding(gpus: Gpus, target: Target) -> Iterator[Finding]:
    """Report every GPU with a failure, and every one that answers only in part."""
    if not gpus.gpus:
        yield skipped("host", "NVML lists no GPU")
    for gpu in gpus.gpus:
        silent = _silent(gpu)
        if gpu.failure is None and not silent:
            yield passed(gpu.subject, "the GPU answers", evidence=_seen(gpu))
        elif gpu.failure is None:
            yield failed(
                gpu.subject,
                "{name} answers only in part: {errors}",
                name=gpu.label,
                errors=tuple(f"{field}: {error}" for field, error in silent.items()),
                evidence=_seen(gpu),
                fix=_way_out(gpu),
            )
        elif target.chosen(gpu.index):
            yield failed(
                gpu.subject,
                "{name} does not answer: {failure}",
                name=gpu.label,
                failure=gpu.failure,
                evidence=_seen(gpu),
                fix=_way_out(gpu),
            )
        else:
            yield warned(
                gpu.subject,
                "{name} does not answer: {failure}; it was not chosen, but can hang programs that list the GPUs",
                name=gpu.label,
                failure=gpu.failure,
                evidence=_seen(gpu),
                fix=_way_out(gpu),
            )


def _silent(gpu: Gpu) -> dict[str, str]:
    facts = {field: getattr(gpu, field) for field in ESSENTIAL}
    return {f: fact.reason for f, fact in facts.items() if isinstance(fact, Unavailable) and not fact.harmless}


def _seen(gpu: Gpu) -> tuple[Evidence, ...]:
    code = (saw("NVML return code", gpu.failure_code, "NVML"),) if gpu.failure_code is not None else ()
    place = gpu.pci_address if isinstance(gpu.pci_address, str) else None
    return (saw("GPU", gpu.label, "nvmlDeviceGetName"), saw("PCI address", place, "nvmlDeviceGetPciInfo_v3"), *code)


def _way_out(gpu: Gpu) -> tuple[Step, ...]:
    look = step("Read what the driver said about it.", "sudo dmesg | grep -E 'NVRM|Xid'")
    cold = step(
        "Power the machine off and on; if it happens again, reseat the card and its cables, then have it replaced.",
        risk="stops everything on this machine",
    )
    if gpu.failure_code == LOST:
        return look, cold
    return look, reset_gpu(gpu.index), cold
