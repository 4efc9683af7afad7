"""A GPU request that Compose refuses, so that nothing of the project starts.

## Why it matters
One wrong key stops `docker compose up` for the whole project: a reservation without `capabilities`, `count` beside
`device_ids`, numbers that are not in quotation marks. The message names a path in the file, and no line.

## How to fix
Write the request as `driver: nvidia`, either `count` or `device_ids` as text, and `capabilities: [gpu]`.

## References
- https://docs.docker.com/compose/how-tos/gpu-support/
- https://docs.docker.com/reference/compose-file/deploy/#devices
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step
from gpudoctor.facts.compose import Compose, GpuRequest
from gpudoctor.judging.composed import at


@check()
def invalid_request(compose: Compose) -> Iterator[Finding]:
    """Report what the reader found wrong with each request."""
    for service in compose.services:
        if not service.requests:
            yield skipped(service.subject, "asks for no GPU")
        wrong = [each for each in service.requests if each.problem is not None]
        for request in wrong:
            yield at(request.place, failed(
                service.subject, "Compose refuses this GPU request: {problem}", problem=request.problem,
                evidence=saw("request", request.form, f"{request.place.file}:{request.place.line}"),
                corrected=_corrected(request), fix=step("Write: {corrected}")))
        if service.requests and not wrong:
            yield passed(service.subject, "its GPU requests are valid",
                         evidence=saw("requests", len(service.requests), service.place.file))


def _corrected(request: GpuRequest) -> str:
    listed = ", ".join(f"'{each}'" for each in request.device_ids)
    which = f"device_ids: [{listed}]" if listed else f"count: {request.count if request.count else 'all'}"
    return f"{{driver: {request.driver or 'nvidia'}, {which.replace('count: -1', 'count: all')}, capabilities: [gpu]}}"
