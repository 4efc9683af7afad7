"""A key stands in the file that the Compose specification does not know there, so that Compose refuses the project.

## Why it matters
`docker compose up` stops with "additional properties 'enviroment' not allowed" for the whole project; older tools drop
the key without a word, and with it the GPUs or the limit that it was meant to set. What it does not know in an entry of
`gpus`, Compose itself drops.

## How to fix
Correct the key (`gpudoctor compose fix` renames one that is misspelt), or move it to where it belongs; what is meant
for other tools begins with `x-`.

## References
- https://github.com/compose-spec/compose-spec/blob/main/schema/compose-spec.json
- https://docs.docker.com/reference/compose-file/services/
- https://docs.docker.com/reference/compose-file/extension/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, check, failed, passed, saw, step, warned
from gpudoctor.facts.compose import Compose, UnknownKey
from gpudoctor.judging.composed import at


@check()
def unknown_key(compose: Compose) -> Iterator[Finding]:
    """Compare every key with the specification's, at every level."""
    for project in compose.projects:
        for each in project.unknown_keys:
            subject = f"service:{each.service}" if each.service is not None else f"file:{each.place.file}"
            yield at(each.place, _judge(each, subject))
        if not project.unknown_keys:
            yield passed(f"file:{project.files[0]}", "every key of its services is known",
                         evidence=saw("services", len(project.services), project.files[0]))


def _judge(each: UnknownKey, subject: str) -> Finding:
    seen = saw("key", each.path, f"{each.place.file}:{each.place.line}")
    if each.dropped:
        return warned(subject, "Compose drops {path} without a word: it knows no such key there", path=each.path,
                      evidence=seen, fix=_way(each))
    if each.near is not None:
        return failed(subject, "Compose refuses the key {path}: it is called {near}", path=each.path, near=each.near,
                      evidence=seen, fix=_way(each))
    if each.belongs is not None:
        return failed(subject, "Compose refuses the key {path} where it stands", path=each.path, evidence=seen,
                      fix=_way(each))
    return warned(subject, "the key {path} is in no Compose specification up to 2.40, and Compose refuses what it does "
                  "not know", path=each.path, evidence=seen, fix=_way(each))


def _way(each: UnknownKey) -> Step:
    if each.near is not None:
        return step("Write {near} in its place.", near=each.near)
    if each.belongs:
        return step("Move it to {belongs}.", belongs=each.belongs)
    if each.belongs is not None:
        return step("Move it to the service itself, beside image.")
    return step("Remove it, or let its name begin with x-.")
