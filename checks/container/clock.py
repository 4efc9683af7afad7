"""A container's time zone is not the host's.

## Why it matters
Nothing breaks. Log lines of the container and of the host are hours apart, which misleads whoever reads both to find
out what came first.

## How to fix
If it disturbs, set `TZ` for the service, or mount the host's `/etc/localtime`.

## References
- https://docs.docker.com/reference/compose-file/services/#environment
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, need, noted, passed, saw, skipped, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers, Docker
from gpudoctor.facts.host import Clock
from gpudoctor.judging.gpu_containers import engine_of, meant_for_gpus

_UTC = frozenset({"UTC", "Etc/UTC", "UTC0", "Universal", "Etc/Universal", "Zulu", "GMT", "Etc/GMT", "GMT0"})


@check()
def clock(containers: Containers, docker: Docker, clock: Clock) -> Iterator[Finding]:
    """Compare the zones of engines and GPU containers with the host's."""
    here = need(clock.time_zone)
    found = tuple(c for c in containers.containers if c.running and (meant_for_gpus(c, docker) or engine_of(c)))
    if not found:
        yield skipped("host", "no engine and no GPU container runs here")
    for each in found:
        if isinstance(each.time_zone, Unavailable):
            yield skipped(each.subject, "its time zone is not known: {reason}", reason=each.time_zone.reason)
            continue
        seen = (saw("zone inside", each.time_zone, "/etc/localtime, TZ"),
                saw("zone of the host", here, "/etc/localtime"))
        if _same(each.time_zone, here):
            yield passed(each.subject, "its time zone is the host's, {zone}", zone=here, evidence=seen)
        elif "/" not in each.time_zone and each.time_zone not in _UTC:
            yield skipped(each.subject, "its time zone, {zone}, carries no name to compare", zone=each.time_zone,
                          evidence=seen)
        else:
            yield noted(each.subject, "its clock shows {zone}, the host's {here}: their log lines differ by that",
                        zone=each.time_zone, here=here, evidence=seen,
                        fix=step("If it disturbs: TZ: {here} under environment of the service.", here=here))


def _same(zone: str, here: str) -> bool:
    return zone == here or (zone in _UTC and here in _UTC)
