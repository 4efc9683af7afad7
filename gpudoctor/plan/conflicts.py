"""What happens when the services start as they are written: who finds too little, and in which order."""

from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.plan.needs import RESERVE_BYTES, Needs
from gpudoctor.plan.service import Flavour, Load, Service

AS_WRITTEN = Flavour()


class Holder(NamedTuple):
    """A service on a GPU, the bytes that it takes there as written, and those it wants to see free for that."""

    service: Service
    bytes: int
    claim: int
    load: Load


class Conflict(NamedTuple):
    """Services that do not fit together on a GPU as they are written. ``last`` starts last and finds ``left``.

    With no more ``need`` than ``room`` they fit by less than what a context may differ.
    """

    gpu: int
    holders: tuple[Holder, ...]
    need: int
    room: int
    last: Holder
    left: int


class Written(NamedTuple):
    """The layout as written: conflicts by GPU, and services that do not run where they are told to even alone."""

    conflicts: tuple[Conflict, ...]
    alone: tuple[Service, ...]


def as_written(services: Sequence[Service], needs: Needs) -> Written:
    """Judge the GPUs and shares as the files say them, every service at its peak."""
    on: dict[int, list[Holder]] = {}
    alone: list[Service] = []
    for service in services:
        if service.written is None:
            continue
        load = needs.load(service, service.written, AS_WRITTEN)
        if load is None and len(service.models) > 1:
            load = needs.load(service, service.written, AS_WRITTEN._replace(in_turn=True))
        if load is None:
            alone.append(service)
            continue
        for n, claim, taken in zip(service.written, load.claims, load.needs, strict=True):
            if claim:
                on.setdefault(n, []).append(Holder(service, min(taken.total or claim, claim), claim, load))
    conflicts: list[Conflict] = []
    for n in sorted(on):
        holders, room = on[n], needs.gpus[n].free_bytes
        need = sum(holder.bytes for holder in holders)
        reserve = RESERVE_BYTES * len(holders) if len(holders) > 1 else 0
        if sum(holder.claim for holder in holders) + reserve <= room:
            continue
        last = _last(holders)
        left = max(room - (need - last.bytes), 0)
        conflicts.append(Conflict(n, tuple(holders), need, room, last, left))
    return Written(tuple(conflicts), tuple(alone))


def _last(holders: Sequence[Holder]) -> Holder:
    """Return who starts last: who waits for the others; else who needs the most at once, a share before all."""
    waits = {holder.service.name: len(holder.service.after) for holder in holders}
    names = {holder.service.name for holder in holders}
    told = [holder for holder in holders if names & set(holder.service.after)]
    pool = told or list(holders)
    return max(pool, key=lambda each: (waits[each.service.name] if told else 0, each.service.takes_share, each.bytes))
