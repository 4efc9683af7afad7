"""Engines that serve now: what their own interfaces say. Only ``gpudoctor serving`` asks them.

Gatekeeper: ``serving.unreachable``.
"""

from typing import Annotated, Literal

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Part, Section, Unavailable

#: Why an address gave no answer that can be judged.
FailureKind = Literal[
    "",
    "refused",  # nobody listens
    "timeout",
    "reset",  # the connection was closed, or something else than HTTP was spoken
    "html",  # a page for people
    "key",  # it wants a key
    "redirect",
    "tls",
    "name",  # the host's name is not known
    "loading",  # it says that its model is not ready
    "error",  # an HTTP status of failure
    "no-engine",  # it answers, and is none of the engines known
    "unpublished",  # a container's port that leads nowhere
    "too-long",
]


class ServedModel(Item, frozen=True, kw_only=True):
    """One model of an endpoint.

    Attributes:
        name: As requests name it.
        path: The file, folder or hub id it was loaded from, where the engine tells.
        loaded: False for a model that lies on disk only (Ollama).
        size_bytes: Memory that it takes now, GPU and host together; ``gpu_bytes`` is the part on GPUs.
        file_bytes: Its size on disk.
        context: Tokens that one request may have; ``context_maximum`` what the model was made for.
        expires: When an idle model is unloaded, ISO 8601.
    """

    name: str
    path: str | None = None
    loaded: bool = True
    size_bytes: int | None = None
    gpu_bytes: int | None = None
    file_bytes: int | None = None
    context: int | None = None
    context_maximum: int | None = None
    layers: int | None = None
    quantization: str | None = None
    expires: str | None = None


class LiveRun(Item, frozen=True, kw_only=True):
    """One step of ``--live``: so many short streamed completions at once.

    ``first_token_seconds`` and ``tokens_per_s`` are the median over the requests, the latter between the first and the
    last token of one request. ``total_tokens_per_s`` counts all requests together from start to end.
    """

    model: str
    concurrency: int
    completed: int = 0
    failed: int = 0
    tokens: int = 0
    first_token_seconds: float | None = None
    slowest_first_token_seconds: float | None = None
    tokens_per_s: float | None = None
    total_tokens_per_s: float | None = None
    failure: str | None = None


class Variables(Part, frozen=True, kw_only=True):
    """Environment variables of an engine's process: only those that say how it serves, no secrets."""

    values: dict[str, str] = {}


class Endpoint(Item, frozen=True, kw_only=True):
    """One address at which an engine answers, or should.

    Attributes:
        url: Where it was asked.
        origin: Why it was asked: ``named``, ``port``, ``process``, ``container``, or ``inside`` for a container that
            publishes no port and was asked at its own address.
        engine: ``ollama``, ``vllm``, ``sglang``, ``tgi``, ``llama.cpp``, ``llama-cpp-python``, ``openai`` for another
            one that speaks OpenAI's protocol; None when it gave no answer.
        addresses: Where the socket listens; empty when that is not known.
        local: It runs on the machine whose facts these are.
        container: Name of the container behind it; ``container_id`` is the whole id.
        pids: The process that listens and all beneath it.
        settings: Flags of its command line by our names (``engine_flags``), no secrets.
        environment: Its own variables that say how it serves; Unavailable where this user may not see them.
        slots: Requests served at once; the engine's word, or its setting.
        kv_tokens: What the KV cache holds; ``kv_usage`` is the part in use, 0 to 1.
        waiting: Requests in the queue, the smaller number of two looks; ``preemptions`` counts since the start.
        failure: Why it could not be asked; ``kind`` says the same for programs.
    """

    url: str
    origin: str = "named"
    engine: str | None = None
    version: str | None = None
    addresses: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    local: bool = True
    container: str | None = None
    container_id: str | None = None
    pids: Annotated[tuple[int, ...], Meta(max_length=1024)] = ()
    settings: dict[str, str] = {}
    environment: Variables | Unavailable = NOT_RECORDED
    models: Annotated[tuple[ServedModel, ...], Meta(max_length=256)] = ()
    slots: int | None = None
    kv_usage: float | None = None
    kv_tokens: int | None = None
    running: int | None = None
    waiting: int | None = None
    preemptions: int | None = None
    live: Annotated[tuple[LiveRun, ...], Meta(max_length=256)] = ()
    kind: FailureKind = ""
    failure: str | None = None

    @property
    def subject(self) -> str:
        """Its name in findings."""
        return f"endpoint:{self.url}"

    @property
    def loaded(self) -> tuple[ServedModel, ...]:
        """The models in memory."""
        return tuple(model for model in self.models if model.loaded)


class ModelRead(Item, frozen=True, kw_only=True):
    """A bounded reading of a model's file. ``method`` is ``direct`` (past the file cache) or ``uncached pages``.

    ``cached_share`` is the part of the file that lay in the file cache before, None where the kernel does not tell.
    """

    path: str
    file_bytes: int
    read_bytes: int = 0
    seconds: float = 0.0
    method: str = "direct"
    cached_share: float | None = None
    failure: str | None = None


class Serving(Section, frozen=True, kw_only=True):
    """What was asked, and what answered."""

    endpoints: Annotated[tuple[Endpoint, ...], Meta(max_length=64)] = ()
    reads: Annotated[tuple[ModelRead, ...], Meta(max_length=16)] = ()

    @property
    def answering(self) -> tuple[Endpoint, ...]:
        """The endpoints that an engine answers at."""
        return tuple(each for each in self.endpoints if each.engine is not None and each.failure is None)
