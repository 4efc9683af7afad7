"""A model's service does not come back after a reboot or a crash.

## Why it matters
Without a restart policy the container stays down after the machine was restarted, or after the engine ran out of
memory once.

## How to fix
Write `restart: unless-stopped` below the service.

## References
- https://docs.docker.com/engine/containers/start-containers-automatically/
- https://docs.docker.com/reference/compose-file/services/#restart
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, noted, passed, saw, skipped, step
from gpudoctor.facts.compose import Compose
from gpudoctor.judging.composed import at, engine


@check()
def no_restart(compose: Compose) -> Iterator[Finding]:
    """Judge the services that run a known engine."""
    for service in compose.services:
        if engine(service) is None:
            yield skipped(service.subject, "runs no engine that gpudoctor knows")
        elif service.restart in (None, "no", "false", "none"):
            yield at(service.place_of("restart"), noted(
                service.subject, "has no restart policy: it stays down after a reboot",
                evidence=saw("restart", service.restart, service.place.file),
                fix=step("Write below the service: restart: unless-stopped")))
        else:
            yield passed(service.subject, "restarts: {policy}", policy=service.restart,
                         evidence=saw("restart", service.restart, service.place.file))
