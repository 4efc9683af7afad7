"""Services do not fit on the GPUs that they are given: together on a shared one, or one of them alone.

## Why it matters
vLLM and SGLang take a share of each GPU's whole memory at the start (0.9 or more unless told otherwise), whatever the
model; a second service on the same GPU then finds too little and stops, often only after a reboot changed the order of
starting. Ollama puts layers on the CPU instead, without saying so; which models it will hold is read from commands
that run or pull one, or from what it holds now.

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

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.amd import Amd
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, Service
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.serving import Serving
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.fit.compose_service import Service as Asked
from gpudoctor.judging.composed import asked, at, given, group_size, nvidia_requests
from gpudoctor.judging.composed_fit import Load, load_of
from gpudoctor.judging.composed_models import Models, kind_bytes, ollama_models


class _Holder(NamedTuple):
    service: Service
    load: Load
    bytes: int


class _Loads:
    """What services take of GPUs, each question asked once."""

    def __init__(self, machine: Snapshot) -> None:
        self._machine = machine
        self._known: dict[tuple[object, ...], Load] = {}

    def of(self, question: Asked, used: tuple[int, ...], models: Models | None) -> Load:
        """Return the load of the largest of the models that are known."""
        if question.model is not None or models is None:
            return self._one(question, used)
        found = [self._one(question._replace(model=name), used) for name in models.names]
        return max(found, key=lambda load: (load.problem is not None, sum(load.bytes.values())))

    def _one(self, question: Asked, used: tuple[int, ...]) -> Load:
        key = (question.model, question.settings, used)
        load = self._known.get(key)
        if load is None:
            load = self._known[key] = load_of(question, used, self._machine)
        return load


@check()
def overcommit(
    compose: Compose,
    gpus: Gpus | Unavailable,
    amd: Amd | Unavailable,
    containers: Containers | Unavailable,
    serving: Serving | Unavailable,
) -> Iterator[Finding]:
    """Add up what the services will hold on each GPU."""
    if not isinstance(gpus, Gpus) or not gpus.answering:
        reason = gpus.reason if isinstance(gpus, Unavailable) else "no NVIDIA GPU answers"
        if isinstance(amd, Amd) and amd.gpus:
            reason = "what services take of AMD's GPUs is not computed"
        yield skipped("host", "services and GPUs cannot be compared: {reason}", reason=reason)
        return
    loads = _Loads(msgspec.structs.replace(Snapshot(), gpus=gpus, amd=amd))
    on: dict[int, list[_Holder]] = {}
    for service in compose.services:
        question = asked(service)
        got = given(service, gpus)
        used = got.used
        if question is None and not nvidia_requests(service):
            yield skipped(service.subject, "runs no engine whose memory gpudoctor can compute")
            continue
        if not used:
            yield skipped(service.subject, "on which GPUs it runs is not known, or it has none")
            continue
        if got.missing or (question is not None and group_size(question, len(used)) > len(used)):
            # compose.unknown-gpu and compose.parallel-mismatch say so.
            yield skipped(service.subject, "asks for GPUs that it does not get")
            continue
        if question is None:
            load = _other(service, used)
            yield skipped(service.subject, "runs no engine whose memory gpudoctor can compute")
        else:
            models = ollama_models(service, compose, containers, serving) if question.settings.engine == "ollama" \
                else None
            load = loads.of(question, used, models)
            yield _alone(service, question, load, used, models.source if models is not None else "gpudoctor fit")
        for index in used:
            on.setdefault(index, []).append(_Holder(service, load, load.bytes.get(index, 0)))
    yield from _shared(on, {gpu.index: gpu for gpu in gpus.gpus})


def _other(service: Service, used: tuple[int, ...]) -> Load:
    """A service with GPUs that is no engine of language models lies on the first; what it takes may be known."""
    title, size = kind_bytes(service)
    words = f"{title}: {size / 2**30:.1f} GiB" if size is not None else f"{title}, of a size not known"
    # The size is that of one process on one GPU: where on several is not said, and accuses nobody.
    return Load(dict.fromkeys(used, size or 0), {}, words, known=size is not None and len(used) == 1)


def _wants_parts(question: Asked) -> bool:
    settings = question.settings
    return settings.engine == "ktransformers" or settings.gpu_layers is not None or bool(settings.cpu_moe)


def _alone(service: Service, question: Asked, load: Load, used: tuple[int, ...], where: str) -> Finding:
    seen = saw("needed on the fullest GPU bytes", max(load.least.values(), default=0), "gpudoctor fit")
    told = saw("model", load.model, where)
    see = step("See the arithmetic, and what does fit.", "gpudoctor fit --from-compose {file}:{name}",
               file=service.place.file, name=service.name)
    if load.problem is not None:
        return unknown(service.subject, "what it needs is not known: {problem}", problem=load.problem,
                       fix=step("Ask for one service.", "gpudoctor fit --from-compose {file}:{name}",
                                file=service.place.file, name=service.name))
    if load.model is None:
        return skipped(service.subject, "names no model that can be looked at from here")
    if load.verdict == "does-not-fit":
        return at(service.place, failed(
            service.subject, "{model} does not fit on GPU {indices} even alone: one would need {needed:bytes}",
            model=load.model, indices=used, needed=max(load.least.values(), default=0), evidence=(told, seen),
            fix=see))
    if load.verdict == "partial" and _wants_parts(question):
        return passed(service.subject, "{model} fits on GPU {indices} with the layers that it leaves to the processor",
                      model=load.model, indices=used, evidence=(told, seen))
    if load.verdict == "partial":
        on, total = load.layers or (0, 0)
        return at(service.place, warned(
            service.subject, "{model} does not fit on GPU {indices} as a whole even alone: {on} of {total} layers do, "
            "the processor computes the rest", model=load.model, indices=used, on=on, total=total,
            evidence=(told, seen), fix=see))
    if load.verdict != "fits":
        return unknown(service.subject, "whether {model} fits on GPU {indices} is not known: it would not run there as "
                       "it is", model=load.model, indices=used, evidence=told, fix=see)
    return passed(service.subject, "{model} fits on GPU {indices} alone", model=load.model, indices=used,
                  evidence=(told, seen))


def _shared(on: dict[int, list[_Holder]], cards: dict[int, Gpu]) -> Iterator[Finding]:
    told: set[tuple[str, ...]] = set()
    for index, holders in sorted(on.items()):
        names = tuple(each.service.name for each in holders)
        if len(holders) < 2 or names in told:
            continue
        told.add(names)
        total = cards[index].memory_total_bytes
        reserved = cards[index].memory_reserved_bytes
        last = holders[-1].service
        others = names[:-1]
        if not isinstance(total, int):
            yield unknown(last.subject, "shares GPU {index} with {others}, whose memory is not known", index=index,
                          others=others)
            continue
        room = total - (reserved if isinstance(reserved, int) else 0)
        need = sum(each.bytes for each in holders if each.load.known)
        shares = [each.load.share for each in holders if each.load.share is not None]
        parts = tuple(f"{each.service.name}: {each.load.words}" for each in holders)
        seen = (saw("services on the GPU", parts, "gpudoctor fit"), saw("needed bytes", need, "gpudoctor fit"),
                saw("there are bytes", room, "NVML"))
        place = last.requests[0].place if last.requests else last.place
        strange = tuple(each.service.name for each in holders if not each.load.known or each.load.problem is not None)
        if strange and need <= room:
            yield at(place, unknown(
                last.subject, "shares GPU {index} with {others}; what {strange} will need is not known", index=index,
                others=others, strange=strange, evidence=seen,
                fix=step("Say which models they hold, and see whether all fit.", "gpudoctor plan {file}",
                         file=last.place.file)))
            continue
        if need <= room:
            yield passed(last.subject, "shares GPU {index} with {others}, and they fit together", index=index,
                         others=others, evidence=seen)
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
