"""The file uses a variable that nothing sets, so that an empty text stands in its place.

## Why it matters
`image: vllm/vllm-openai:${VERSION}` or `./${MODELS}:/models` then means something else: an invalid image, or the whole
project folder as models. Compose warns once among its other lines and goes on.

## How to fix
Set the variable in `.env` beside the file, or give a default: `${NAME:-value}`; `${NAME:?words}` makes Compose stop.

## References
- https://docs.docker.com/reference/compose-file/interpolation/
- https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, noted, passed, saw, step
from gpudoctor.facts.compose import Compose
from gpudoctor.judging.composed import at


@check()
def unset_variable(compose: Compose) -> Iterator[Finding]:
    """Name each variable once, where it is first used."""
    for project in compose.projects:
        for name, place in project.unset.items():
            yield at(place, noted(
                f"file:{place.file}", "{name} is set nowhere: an empty text stands in its place", name=name,
                evidence=saw(name, None, "the shell and .env"),
                fix=step("Set it in .env beside the file, or give a default where it is used.")))
        if not project.unset:
            yield passed(f"file:{project.files[0]}", "every variable that it uses is set",
                         evidence=saw("files", project.files, project.files[0]))
