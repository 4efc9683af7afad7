"""A service has a key that the Compose specification does not know, so that Compose refuses the project.

## Why it matters
`docker compose up` stops with "additional properties 'enviroment' not allowed" for the whole project; older tools drop
the key without a word, and with it the GPUs or the limit that it was meant to set.

## How to fix
Correct the key; what is meant for other tools begins with `x-`.

## References
- https://docs.docker.com/reference/compose-file/services/
- https://docs.docker.com/reference/compose-file/extension/
"""

import difflib
from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, passed, saw, step, warned
from gpudoctor.facts.compose import SERVICE_KEYS, Compose
from gpudoctor.judging.composed import at


@check()
def unknown_key(compose: Compose) -> Iterator[Finding]:
    """Compare the keys of every service with the specification's."""
    for project in compose.projects:
        for path, place in project.unknown_keys.items():
            service, _, key = path.partition(".")
            near = difflib.get_close_matches(key, SERVICE_KEYS, 1, 0.75)
            seen = saw("key", key, f"{place.file}:{place.line}")
            if near:
                yield at(place, failed(f"service:{service}", "Compose refuses the key {key}: it is called {near}",
                                       key=key, near=near[0], evidence=seen, fix=step("Write {near} in its place.")))
            else:
                yield at(place, warned(
                    f"service:{service}", "the key {key} is in no Compose specification up to 2.40, and Compose "
                    "refuses what it does not know", key=key, evidence=seen,
                    fix=step("Remove it, or let its name begin with x-.")))
        if not project.unknown_keys:
            yield passed(f"file:{project.files[0]}", "every key of its services is known",
                         evidence=saw("services", len(project.services), project.files[0]))
