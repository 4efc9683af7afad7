"""GPUs of one kind have different VBIOS versions.

## Why it matters
Power limits, fan curves, memory timings and fixes come with the VBIOS. Among GPUs that work on one model the odd one is
slower or fails first, and nothing else shows why.

## How to fix
Ask the board's vendor for the current VBIOS; on servers it comes with the firmware bundle. Differences between vendors'
own cards are normal.

## References
- https://github.com/imbue-ai/cluster-health
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, known, passed, saw, skipped, step, warned
from gpudoctor.facts.gpus import Gpus
from gpudoctor.judging.cards import wanted_together


@check()
def mixed_vbios(gpus: Gpus, target: Target) -> Iterator[Finding]:
    """Compare versions among GPUs of the same name within the set meant for one model."""
    wanted = wanted_together(gpus, target)
    if not wanted:
        yield skipped("host", "not several GPUs are wanted for one model (--gpus, --model)")
        return
    versions: dict[str, dict[str, list[int]]] = {}
    for gpu in wanted:
        version = known(gpu.vbios)
        if version is not None:
            versions.setdefault(gpu.label, {}).setdefault(version, []).append(gpu.index)
    seen = tuple(saw(f"VBIOS {version}", f"GPU {', '.join(map(str, numbers))}", "nvmlDeviceGetVbiosVersion")
                 for by_version in versions.values() for version, numbers in by_version.items())
    if not versions:
        yield skipped("host", "no GPU tells its VBIOS version")
        return
    mixed = {name: tuple(by_version) for name, by_version in versions.items() if len(by_version) > 1}
    for name, found in mixed.items():
        yield warned("host", "{name}: GPUs for one model have VBIOS versions {versions}", name=name, versions=found,
                     evidence=seen, fix=step("Bring them to one version, as the board's vendor gives it."))
    if not mixed:
        yield passed("host", "GPUs of one kind have one VBIOS version", evidence=seen)
