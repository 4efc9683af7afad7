"""`CUDA_VISIBLE_DEVICES` hides GPUs: it is empty, names one that is not there, or other ones than were chosen.

## Why it matters
CUDA stops at the first entry that it does not know and uses the ones before it; when that is the first, or the
variable is set and empty, programs find no GPU at all (error 100) while `nvidia-smi`, which ignores it, shows them all.
Inside a container the GPUs that were handed in are numbered from 0, so the host's numbers hide everything there:
`NVIDIA_VISIBLE_DEVICES` selects outside, `CUDA_VISIBLE_DEVICES` filters inside. CUDA also counts the fastest GPU first
unless `CUDA_DEVICE_ORDER=PCI_BUS_ID` is set: with different cards, number 1 may be another one than in `nvidia-smi`.

## How to fix
Unset the variable, or set it to numbers that exist, and the order with it.

## References
- https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
- https://github.com/gpustack/gpustack/issues/6041
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, known, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host

_NAME = "CUDA_VISIBLE_DEVICES"


@check()
def visible_devices(host: Host, gpus: Gpus, target: Target) -> Iterator[Finding]:
    """Read the variable as CUDA does."""
    value = host.environment.get(_NAME)
    order = host.environment.get("CUDA_DEVICE_ORDER", "")
    seen = (saw(_NAME, value, "environment"), saw("GPUs", len(gpus.gpus), "NVML"),
            saw("CUDA_DEVICE_ORDER", order or None, "environment"))
    if value is None:
        yield skipped("host", "CUDA_VISIBLE_DEVICES is not set")
        return
    if not gpus.gpus:
        yield skipped("host", "there is no NVIDIA GPU that it could hide")
        return
    unset = step("Unset it in this shell, and where it is set.", "unset CUDA_VISIBLE_DEVICES")
    entries = [part.strip() for part in value.split(",")]
    if value.strip() == "" or entries[0] in ("-1", "NoDevFiles"):
        yield failed("host", "CUDA_VISIBLE_DEVICES is {value}: programs started here see no GPU",
                     value=value.strip() or "set and empty", evidence=seen, fix=unset)
        return
    if any(entry.startswith("MIG-") for entry in entries):
        yield skipped("host", "CUDA_VISIBLE_DEVICES names MIG slices; see engine.mig-uuid")
        return
    wrong = _first_wrong(entries, gpus)
    if wrong is not None:
        used = entries[: entries.index(wrong)]
        inside = host.container is not None
        if used:
            yield warned("host", "CUDA stops at {wrong} in CUDA_VISIBLE_DEVICES={value}, which is not here: only "
                         "{used} is used", wrong=wrong, value=value, used=tuple(used), evidence=seen, fix=unset)
        elif inside:
            yield failed("host", "CUDA_VISIBLE_DEVICES={value} names the host's GPU {wrong}; this container has GPUs "
                         "0 to {last}", value=value, wrong=wrong, last=len(gpus.gpus) - 1, evidence=seen, fix=unset)
        else:
            yield failed("host", "CUDA_VISIBLE_DEVICES={value} names GPU {wrong}, which is not here: programs see no "
                         "GPU", value=value, wrong=wrong, evidence=seen, fix=unset)
        return
    if len(set(entries)) < len(entries):
        yield failed("host", "CUDA_VISIBLE_DEVICES={value} names a GPU twice: programs see no GPU", value=value,
                     evidence=seen, fix=unset)
        return
    yield from _chosen(entries, value, order, gpus, target)


def _first_wrong(entries: list[str], gpus: Gpus) -> str | None:
    uuids = [uuid for gpu in gpus.gpus if (uuid := known(gpu.uuid)) is not None]
    told = bool(uuids) and all(uuid.startswith("GPU-") for uuid in uuids)
    for entry in entries:
        if entry.isascii() and entry.isdigit():
            if int(entry[:9]) >= len(gpus.gpus):
                return entry
        elif entry.startswith("GPU-"):
            # Redacted snapshots have no UUIDs to compare with.
            if told and not any(uuid.startswith(entry) for uuid in uuids):
                return entry
        else:
            return entry
    return None


def _chosen(entries: list[str], value: str, order: str, gpus: Gpus, target: Target) -> Iterator[Finding]:
    seen = saw(_NAME, value, "environment")
    numbers = all(entry.isdigit() for entry in entries)
    kinds = {gpu.label for gpu in gpus.answering}
    fix = step("Set the order that nvidia-smi has.", "export CUDA_DEVICE_ORDER=PCI_BUS_ID")
    if numbers and len(kinds) > 1 and order != "PCI_BUS_ID":
        yield warned("host", "CUDA_VISIBLE_DEVICES={value} counts the fastest GPU first, not in nvidia-smi's order, "
                     "and the GPUs here differ", value=value, evidence=seen, fix=fix)
        return
    if target.gpus is not None and numbers and {int(e) for e in entries} != set(target.gpus):
        yield warned("host", "CUDA_VISIBLE_DEVICES={value} shows other GPUs than the ones chosen, {chosen}",
                     value=value, chosen=target.gpus, wanted=",".join(map(str, target.gpus)), evidence=seen,
                     fix=step("Show the ones chosen.", "export CUDA_VISIBLE_DEVICES={wanted}"))
        return
    hidden = len(gpus.gpus) - len(entries)
    if hidden > 0 and target.gpus is None:
        yield noted("host", "CUDA_VISIBLE_DEVICES={value} hides {hidden} of {count} GPUs from programs started here",
                    value=value, hidden=hidden, count=len(gpus.gpus), evidence=seen)
        return
    if not numbers and any(known(gpu.uuid) is None for gpu in gpus.gpus):
        yield unknown("host", "CUDA_VISIBLE_DEVICES names GPUs by UUID, and those here are not known", evidence=seen)
        return
    yield passed("host", "CUDA_VISIBLE_DEVICES={value} names GPUs that are here", value=value, evidence=seen)
