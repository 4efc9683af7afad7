"""A key, token or password is written in the Compose file itself.

## Why it matters
The file lies in a repository, in backups and in everyone's copy; `docker inspect` shows the value to every member of
the group docker. A Hugging Face token or an API key that was committed once is out.

## How to fix
Write `${NAME}` and keep the value in `.env` (not committed), or use Compose's `secrets`. Replace a value that was
committed: it is known. gpudoctor never shows it.

## References
- https://docs.docker.com/compose/how-tos/use-secrets/
- https://docs.docker.com/compose/how-tos/environment-variables/best-practices/
- https://huggingface.co/docs/hub/security-tokens
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, passed, saw, step, warned
from gpudoctor.facts.compose import Compose
from gpudoctor.judging.composed import at


@check()
def secret_inline(compose: Compose) -> Iterator[Finding]:
    """Name the places, never the values."""
    for service in compose.services:
        for each in service.inline_secrets:
            name = each.name.lstrip("-").replace("-", "_").upper().replace(" ", "_")
            yield at(each.place, warned(
                service.subject, "the value of {name} is written in the file ({where})", name=each.name,
                where=each.where, variable=f"${{{name}}}",
                evidence=saw(each.name, "***", f"{each.place.file}:{each.place.line}"),
                fix=(step("Write {variable} in its place, and the value in .env beside the file."),
                     step("Replace the key where it was issued, if the file was ever shared."))))
        if not service.inline_secrets:
            yield passed(service.subject, "no secret is written in the file",
                         evidence=saw("variables looked at", len(service.variables), service.place.file))
