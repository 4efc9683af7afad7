"""The file has the key `version`, which Compose has ignored for years.

## Why it matters
It chooses nothing any more: Compose reads every file by the newest specification and warns at each command. People who
trust it expect the rules of that old version.

## How to fix
Remove the line.

## References
- https://docs.docker.com/reference/compose-file/version-and-name/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, noted, passed, saw, step
from gpudoctor.facts.compose import Compose
from gpudoctor.judging.composed import at


@check()
def obsolete_version(compose: Compose) -> Iterator[Finding]:
    """Look for the key."""
    for project in compose.projects:
        subject, place = f"file:{project.files[0]}", project.version_place
        if place is None:
            yield passed(subject, "has no obsolete version", evidence=saw("version", None, project.files[0]))
        else:
            yield at(place, noted(
                subject, "the key version in line {line} is ignored by Compose", line=place.line,
                evidence=saw("version", "set", f"{place.file}:{place.line}"), fix=step("Remove the line.")))
