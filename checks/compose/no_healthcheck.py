"""A model's service has no health check.

## Why it matters
A container that loads a model for minutes counts as started at once: what depends on it gets errors, and an engine that
hangs on a lost GPU stays "running". With a health check `depends_on` can wait and monitoring can tell.

## How to fix
Write a health check that asks the engine, with a `start_period` as long as loading takes.

## References
- https://docs.docker.com/reference/compose-file/services/#healthcheck
- https://docs.docker.com/compose/how-tos/startup-order/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, noted, passed, saw, skipped, step
from gpudoctor.facts.compose import Compose
from gpudoctor.judging.composed import at, engine

_PATHS = {"vllm": "8000/health", "sglang": "30000/health", "tgi": "80/health", "llama.cpp": "8080/health",
          "ollama": "11434/api/version"}


@check()
def no_healthcheck(compose: Compose) -> Iterator[Finding]:
    """Judge the services that run a known engine."""
    for service in compose.services:
        name = engine(service)
        if name not in _PATHS:
            yield skipped(service.subject, "runs no engine whose health gpudoctor knows how to ask")
        elif service.healthcheck:
            yield passed(service.subject, "has a health check", evidence=saw("healthcheck", "set", service.place.file))
        else:
            # Ollama's image brings no curl; its own client asks the server.
            test = "ollama list" if name == "ollama" else f"curl -f http://localhost:{_PATHS[name]}"
            yield at(service.place, noted(
                service.subject, "has no health check: {engine} counts as ready while it still loads", engine=name,
                evidence=saw("healthcheck", None, service.place.file), test=test,
                fix=step('Write below the service: healthcheck: {{test: ["CMD-SHELL", "{test}"], interval: 30s, '
                         "timeout: 10s, retries: 3, start_period: 10m}}")))
