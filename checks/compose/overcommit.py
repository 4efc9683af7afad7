"""Services do not fit on the GPUs that they are given: together on a shared one, or one of them alone.

## Why it matters
vLLM and SGLang take a share of each GPU's whole memory at the start (0.9 or more unless told otherwise), whatever the
model; a second service on the same GPU then finds too little and stops, often only after a reboot changed the order of
starting. Ollama puts layers on the CPU instead, without saying so.

## How to fix
Give each service its own GPUs by `device_ids`, or set shares whose sum stays below 1 (`--gpu-memory-utilization`).
`gpudoctor fit --from-compose FILE:SERVICE` shows the arithmetic of one service.

## References
- https://docs.vllm.ai/en/stable/configuration/conserving_memory.html
- https://docs.vllm.ai/en/stable/cli/serve.html
- https://docs.sglang.ai/advanced_features/server_arguments.html
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step, unknown
from gpudoctor.facts.amd import Amd
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, Service
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.composed import asked, at, given, group_size
from gpudoctor.judging.composed_fit import Load, load_of


class _Holder(NamedTuple):
    service: Service
    load: Load
    bytes: int


@check()
def overcommit(compose: Compose, gpus: Gpus | Unavailable, amd: Amd | Unavailable) -> Iterator[Finding]:
    """Add up what the services will hold on each GPU."""
    if not isinstance(gpus, Gpus) or not gpus.answering:
        reason = gpus.reason if isinstance(gpus, Unavailable) else "no NVIDIA GPU answers"
        if isinstance(amd, Amd) and amd.gpus:
            reason = "what services take of AMD's GPUs is not computed"
        yield skipped("host", "services and GPUs cannot be compared: {reason}", reason=reason)
        return
    machine = msgspec.structs.replace(Snapshot(), gpus=gpus, amd=amd)
    on: dict[int, list[_Holder]] = {}
    loads: dict[tuple[object, ...], Load] = {}
    for service in compose.services:
        question = asked(service)
        got = given(service, gpus)
        used = got.used
        if question is None:
            yield skipped(service.subject, "runs no engine whose memory gpudoctor can compute")
            continue
        if not used:
            yield skipped(service.subject, "on which GPUs it runs is not known, or it has none")
            continue
        if got.missing or group_size(question, len(used)) > len(used):
            # compose.unknown-gpu and compose.parallel-mismatch say so.
            yield skipped(service.subject, "asks for GPUs that it does not get")
            continue
        key = (question.model, question.settings, used)
        load = loads[key] = loads.get(key) or load_of(question, used, machine)
        if load.problem is not None:
            yield unknown(service.subject, "what it needs is not known: {problem}", problem=load.problem,
                          fix=step("Ask for one service.", "gpudoctor fit --from-compose {file}:{name}",
                                   file=service.place.file, name=service.name))
        elif load.verdict == "does-not-fit":
            yield at(service.place, failed(
                service.subject, "{model} does not fit on GPU {indices} even alone: one would need {needed:bytes}",
                model=load.model, indices=used, needed=max(load.least.values(), default=0),
                evidence=saw("needed on the fullest GPU bytes", max(load.least.values(), default=0), "gpudoctor fit"),
                fix=step("See the arithmetic, and what does fit.", "gpudoctor fit --from-compose {file}:{name}",
                         file=service.place.file, name=service.name)))
        elif load.model is not None:
            yield passed(service.subject, "{model} fits on GPU {indices} alone", model=load.model, indices=used,
                         evidence=saw("needed on the fullest GPU bytes", max(load.least.values(), default=0),
                                      "gpudoctor fit"))
        else:
            yield skipped(service.subject, "names no model that can be looked at from here")
        for index in used:
            on.setdefault(index, []).append(_Holder(service, load, load.bytes.get(index, 0)))
    yield from _shared(on, {gpu.index: gpu for gpu in gpus.gpus})


def _shared(on: dict[int, list[_Holder]], cards: dict[int, Gpu]) -> Iterator[Finding]:
    told: set[tuple[str, ...]] = set()
    for index, holders in sorted(on.items()):
        names = tuple(each.service.name for each in holders)
        if len(holders) < 2 or names in told:
            continue
        told.add(names)
        total = cards[index].memory_total_bytes
        reserved = cards[index].memory_reserved_bytes
        if not isinstance(total, int):
            continue
        room = total - (reserved if isinstance(reserved, int) else 0)
        need = sum(each.bytes for each in holders)
        shares = [each.load.share for each in holders if each.load.share is not None]
        parts = tuple(f"{each.service.name}: {each.load.words}" for each in holders)
        seen = (saw("services on the GPU", parts, "gpudoctor fit"), saw("needed bytes", need, "gpudoctor fit"),
                saw("there are bytes", room, "NVML"))
        last = holders[-1].service
        place = last.requests[0].place if last.requests else last.place
        others = names[:-1]
        if need <= room:
            if all(each.load.known for each in holders):
                yield passed(last.subject, "shares GPU {index} with {others}, and they fit together", index=index,
                             others=others, evidence=seen)
            else:
                yield unknown(last.subject, "shares GPU {index} with {others}; what one of them will need is not known",
                              index=index, others=others, evidence=seen)
            continue
        apart = (step("Give each its own GPU by device_ids."),
                 step("Or let the shares add up to less than 1: --gpu-memory-utilization {half:.2f} each.",
                      half=0.9 / len(holders)))
        if len(shares) == len(holders) and sum(shares) > 1:
            yield at(place, failed(
                last.subject, "shares GPU {index} with {others}: their shares of its memory add up to {sum:.2f}",
                index=index, others=others, sum=sum(shares), evidence=seen, fix=apart))
        else:
            yield at(place, failed(
                last.subject, "shares GPU {index} with {others}, and they do not fit together: {need:bytes} of "
                "{room:bytes}", index=index, others=others, need=need, room=room, evidence=seen, fix=apart))
