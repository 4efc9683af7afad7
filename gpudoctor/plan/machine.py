"""The GPUs that a plan may use: named ones or a machine's, less what processes outside of the plan hold."""

from collections.abc import Collection, Iterator

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.fit.hardware import HELD_BYTES, Gpu, Hardware
from gpudoctor.fit.machine import hardware_of
from gpudoctor.fit.model import Unusable

#: A plan is for one machine.
MOST_GPUS = 64


def planned_on(hardware: Hardware, reserve_bytes: int = 0) -> Hardware:
    """Return GPUs for a plan: what is free of them counts as all that there is.

    Raises:
        Unusable: There is no GPU, or the reserve leaves nothing of one.
    """
    if len(hardware.gpus) > MOST_GPUS:
        raise Unusable(f"{len(hardware.gpus)} GPUs are more than one machine has", hint=f"plan for at most {MOST_GPUS}")
    if not hardware.gpus:
        raise Unusable("there is no GPU to plan on", hint='--hardware "4x Quadro RTX 8000" names GPUs you do not have')
    small = [gpu for gpu in hardware.gpus if gpu.free_bytes <= reserve_bytes]
    if small and reserve_bytes:
        raise Unusable(f"it leaves nothing of GPU {small[0].number}", where="--reserve")
    gpus = tuple(gpu._replace(free_bytes=gpu.free_bytes - reserve_bytes) for gpu in hardware.gpus)
    # CUDA contexts come out of what is free.
    return hardware._replace(gpus=gpus, live=True)


def machine_for(facts: Snapshot, names: Collection[str], link: str | None) -> Hardware:
    """Return a machine's GPUs, idle but for processes that belong to none of the services of these names.

    ``names`` empty: everything that runs is planned anew.
    """
    hardware = hardware_of(facts, None)
    sliced = _sliced(facts)
    whole = tuple(gpu for gpu in hardware.gpus if gpu.number not in sliced)
    if hardware.gpus and not whole:
        raise Unusable("every GPU here is divided into MIG slices, and a plan places services on whole GPUs",
                       hint='plan a slice as a GPU: --hardware "1x A100 80GB" --free 19GiB')
    hardware = hardware._replace(gpus=whole)
    own = _containers(facts, names)
    gpus = tuple(_emptied(gpu, facts, own, everything=not names) for gpu in hardware.gpus)
    return hardware._replace(gpus=gpus, link=link, assumed=(*hardware.assumed, *_unseen(facts)))


def _unseen(facts: Snapshot) -> Iterator[str]:
    """Say what could not be looked at, and what was assumed instead."""
    for gpu in facts.gpus.gpus if isinstance(facts.gpus, Gpus) else ():
        total = gpu.memory_total_bytes
        if gpu.failure is not None or isinstance(total, Unavailable):
            why = gpu.failure or (total.reason if isinstance(total, Unavailable) else "")
            yield f"GPU {gpu.index} is left out, it does not answer: {why}"
    for index in sorted(_sliced(facts)):
        yield f"GPU {index} is left out, it is divided into MIG slices"
    if isinstance(facts.containers, Unavailable):
        yield f"no container is of the plan, they cannot be seen: {facts.containers.reason}"


def _sliced(facts: Snapshot) -> frozenset[int]:
    """Return the GPUs in MIG mode: nothing runs on the whole of one."""
    gpus = facts.gpus.gpus if isinstance(facts.gpus, Gpus) else ()
    return frozenset(gpu.index for gpu in gpus if not isinstance(gpu.mig, Unavailable) and gpu.mig.enabled)


def _containers(facts: Snapshot, names: Collection[str]) -> frozenset[str]:
    known = facts.containers.containers if isinstance(facts.containers, Containers) else ()
    return frozenset(
        each.id for each in known
        if each.name in names or each.labels.get("com.docker.compose.service") in names
    )


def _emptied(gpu: Gpu, facts: Snapshot, own: Collection[str], *, everything: bool) -> Gpu:
    found = next((each for each in facts.gpus.gpus if each.index == gpu.number), None) if isinstance(
        facts.gpus, Gpus) else None
    if found is None or isinstance(found.processes, Unavailable):
        return gpu
    held = 0
    left = []
    for process in found.processes:
        planned = process.container in own or (everything and process.kind == "compute")
        if not planned:
            held += process.used_bytes or 0
            left.append(process.pid)
    if everything and gpu.holders and not held:
        return gpu._replace(free_bytes=gpu.usable_bytes, holders=())
    unseen = gpu.usable_bytes - gpu.free_bytes - sum(p.used_bytes or 0 for p in found.processes)
    # Memory that no listed process holds is nobody's to give, either.
    held += unseen if unseen > HELD_BYTES and not own and not everything else 0
    holders = tuple(holder for holder in gpu.holders if holder.pid in left)
    return gpu._replace(free_bytes=max(gpu.usable_bytes - held, 0), holders=holders)
