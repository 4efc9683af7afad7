"""Ollama runs with its default context, a fraction of what models can read.

## Why it matters
Ollama cuts what is longer than its context without an error: the beginning of a conversation, or most of a document,
never reaches the model. The default was 2048 or 4096 tokens in many releases; newer ones choose by video memory.

## How to fix
Set `OLLAMA_CONTEXT_LENGTH` in the service's environment; `gpudoctor fit MODEL --max-context` says how much fits.

## References
- https://docs.ollama.com/context-length
- https://github.com/ollama/ollama/blob/main/docs/faq.mdx
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, Service
from gpudoctor.facts.gpus import Gpus
from gpudoctor.fit.compose_service import version_of
from gpudoctor.judging.composed import at, engine, given, value
from gpudoctor.matrices import ollama

_NAME = "OLLAMA_CONTEXT_LENGTH"
#: Below this a retrieved document, or a coding agent's prompt, no longer fits.
_SMALL = 8192


@check()
def context_default(compose: Compose, gpus: Gpus | Unavailable) -> Iterator[Finding]:
    """Judge Ollama services that set no context."""
    for service in compose.services:
        if engine(service) != "ollama":
            yield skipped(service.subject, "runs no Ollama; other engines take the model's own context")
            continue
        chosen = value(service, _NAME)
        if chosen:
            yield passed(service.subject, "OLLAMA_CONTEXT_LENGTH is {chosen}", chosen=chosen,
                         evidence=saw(_NAME, chosen, service.place.file))
            continue
        yield at(service.place, _judge(service, gpus))


def _judge(service: Service, gpus: Gpus | Unavailable) -> Finding:
    version = version_of(service.image or "")
    memory = _memory(service, gpus)
    tokens = ollama.default_context(version or ollama.table().known_until, memory)
    seen = (saw("Ollama", version, "the image's tag"), saw("video memory bytes", memory, "NVML"),
            saw("default context", tokens, "matrices"))
    fix = (step("Set it in the service's environment: OLLAMA_CONTEXT_LENGTH: 32768"),
           step("See how much fits with a model.", "gpudoctor fit MODEL --engine ollama --max-context"))
    if tokens is None:
        return noted(service.subject, "no context is set, and what Ollama takes then depends on release and video "
                     "memory", evidence=seen, fix=fix)
    if tokens >= _SMALL:
        return noted(service.subject, "no context is set: Ollama takes {tokens} tokens here", tokens=tokens,
                     evidence=seen, fix=fix)
    return warned(service.subject, "no context is set: Ollama takes {tokens} tokens and cuts what is longer without an "
                  "error", tokens=tokens, evidence=seen, fix=fix)


def _memory(service: Service, gpus: Gpus | Unavailable) -> int | None:
    used = given(service, gpus).used
    if not used or not isinstance(gpus, Gpus):
        return None
    sizes = [gpu.memory_total_bytes for gpu in gpus.gpus if gpu.index in used]
    known = [size for size in sizes if isinstance(size, int)]
    return sum(known) if len(known) == len(sizes) else None
