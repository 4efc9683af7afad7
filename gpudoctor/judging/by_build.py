"""One judgement for each build: those in containers on their own GPUs, with the model that they name."""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from gpudoctor.checking.finding import Finding, skipped, step, unknown
from gpudoctor.checking.needs import NotKnown
from gpudoctor.checking.target import Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.judging.builds import Build, newest
from gpudoctor.judging.composed import at, vendor
from gpudoctor.judging.cuda_fit import Machinery
from gpudoctor.judging.workloads import Workload

Judge = Callable[[Build, Target, Machinery], Iterable[Finding] | Finding]


def by_build(
    builds: Iterable[Build], target: Target, here: Machinery, judge: Judge, *, asks_release: bool = False
) -> Iterator[Finding]:
    """Judge each build; what is not known of one in a container ends the judgement of that one alone.

    A container's image whose tag names no release is skipped; ``asks_release``: for a service that is to start it is
    ``unknown``, which one check says for all.

    Raises:
        NotKnown: A fact is missing for an engine that was asked for or is installed.
    """
    several = tuple(builds)
    for build in several:
        if build.workload is not None:
            yield from _in_container(build, build.workload, target, here, judge, asks_release)
    for build in several:
        if build.workload is None:
            yield from _several(judge(build, target, here))


def _in_container(
    build: Build, workload: Workload, target: Target, here: Machinery, judge: Judge, asks_release: bool
) -> Iterator[Finding]:
    own = msgspec.structs.replace(target, model=workload.model or target.model)
    try:
        cards = machinery_of(workload, here)
        if build.version is not None:
            found = _several(judge(build, own, cards))
        else:
            found = [_without_release(build, workload, asks_release)]
    except NotKnown as gap:
        reason = gap.fact.reason if own.model else "it names no model"
        found = [skipped(build.subject, "{label} cannot be judged: {reason}", label=build.label, reason=reason)]
    for each in found:
        yield at(workload.place, each) if workload.place is not None else each


def _without_release(build: Build, workload: Workload, asks: bool) -> Finding:
    best_known = newest(build.engine)
    if not asks or best_known is None or workload.place is None:
        return skipped(build.subject, "which release of {engine} is in {image} is not known: its tag names none",
                       engine=build.engine, image=build.label)
    return unknown(build.subject, "which release of {engine} is in {image} is not known: its tag names none",
                   engine=build.engine, image=build.label,
                   fix=step("Name a release in the image's tag, so that it can be judged and stays what it is; the "
                            "newest known here is {newest}.", newest=best_known))


def _several(found: Iterable[Finding] | Finding) -> list[Finding]:
    return [found] if isinstance(found, Finding) else list(found)


def machinery_of(workload: Workload, here: Machinery) -> Machinery:
    """Return the GPUs that an engine in a container gets.

    Raises:
        NotKnown: It gets none, or which ones is not known and makes a difference.
    """
    made_for = vendor(workload.service)
    if made_for is None:
        raise NotKnown(Unavailable("its image computes without CUDA", "not-applicable"))
    if made_for == "amd":
        raise NotKnown(Unavailable("its image is made for AMD's GPUs", "not-applicable"))
    if workload.gpus is None:
        if len({each.capability for each in here.cards}) > 1:
            raise NotKnown(Unavailable("on which of the GPUs it runs is not known", "not-applicable"))
        return here
    if not workload.gpus:
        raise NotKnown(Unavailable("it is given no GPU of NVIDIA's", "not-applicable"))
    return here.of(workload.gpus)
