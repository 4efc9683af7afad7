"""The Fit JSON document as types: for `gpudoctor schema fit` and for tests. Writing it uses plain dictionaries."""

from typing import Literal

import msgspec

from gpudoctor.reports.report import ReportEvidence, ReportStep

Verdict = Literal["fits", "partial", "does-not-fit", "cannot-run", "unknown"]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the document."""


class FitModel(Part, frozen=True, kw_only=True):
    """What was judged. `source` says where its bytes come from."""

    name: str
    architecture: str
    parameters: int | None
    layers: int
    quantization: str
    weights_bytes: int
    source: str


class FitEngine(Part, frozen=True, kw_only=True):
    """Whose rules; the version is None where no matrix knows a newest one."""

    name: str
    version: str | None


class FitSettings(Part, frozen=True, kw_only=True):
    """The flags with every default filled in; None where the engine has no such thing."""

    context: int
    parallel: int
    kv_cache_type: str | None
    flash_attention: bool | None
    batch: int | None
    ubatch: int | None
    tensor_parallel: int
    pipeline_parallel: int
    gpu_memory_utilization: float | None
    max_num_seqs: int | None
    max_num_batched_tokens: int | None


class Breakdown(Part, frozen=True, kw_only=True):
    """Terms of one GPU's memory in bytes; None for what cannot be known."""

    weights: int | None
    kv_cache: int | None
    compute: int | None
    overhead: int | None


class FitGpu(Part, frozen=True, kw_only=True):
    """One GPU asked for, in the order asked; unused ones have zeros. `layers` is inclusive."""

    index: int
    name: str
    total_bytes: int
    available_bytes: int
    required_bytes: int | None
    minimum_bytes: int | None
    breakdown: Breakdown
    layers: tuple[int, int] | None


class FitHost(Part, frozen=True, kw_only=True):
    """Host memory; not judged when what is available is not known."""

    required_bytes: int | None
    available_bytes: int | None


class FitLayers(Part, frozen=True, kw_only=True):
    """Layers with the output as one more; only for engines that place layers."""

    total: int
    on_gpu: int | None


class FitCache(Part, frozen=True, kw_only=True):
    """The KV cache: bytes per token over all GPUs, tokens of one replica."""

    bytes_per_token: int | float | None
    tokens: int | None
    needed_bytes: int | None
    max_concurrency: float | None


class FitLimits(Part, frozen=True, kw_only=True):
    """The most that fits: 0 when nothing does, None when it is not computable."""

    max_context: int | None
    max_parallel: int | None


class FitProcess(Part, frozen=True, kw_only=True):
    """Who holds memory of a GPU."""

    gpu: int
    pid: int
    name: str
    used_bytes: int | None


class FitStopped(Part, frozen=True, kw_only=True):
    """The verdict if these processes were stopped."""

    verdict: Verdict
    processes: tuple[FitProcess, ...]


class FitContext(Part, frozen=True, kw_only=True):
    """One line of the context table."""

    context: int
    verdict: Verdict
    required_bytes: int | None
    kv_cache_bytes: int | None
    left_bytes: int | None
    decode_tokens_per_s: float | None


class FitSpeed(Part, frozen=True, kw_only=True):
    """Expected speed of one request, and what the figure rests on."""

    decode_tokens_per_s: float
    basis: str


class FitFinding(Part, frozen=True, kw_only=True):
    """A finding in the shape of every report."""

    id: str
    status: Literal["fail", "warn", "unknown", "info", "skip", "pass"]
    subject: str
    message: str
    params: dict[str, str | int | float | None]
    evidence: tuple[ReportEvidence, ...]
    fix: tuple[ReportStep, ...]
    location: None
    explains: tuple[str, ...]
    caused_by: None
    accepted: None
    links: tuple[str, ...]
    duration_s: float


class FitAdvice(Part, frozen=True, kw_only=True):
    """Something else that fits, and the flags that make it so."""

    text: str
    change: dict[str, str | int | float | bool]


class FitLaunch(Part, frozen=True, kw_only=True):
    """The lines that start it."""

    command: str
    compose: str


class Fit(Part, frozen=True, kw_only=True):
    """The whole answer of `gpudoctor fit MODEL --json`. Sizes are bytes."""

    schema: Literal["gpudoctor.fit/1"]
    verdict: Verdict
    exit_code: Literal[0, 1, 3]
    model: FitModel
    engine: FitEngine
    assumed: tuple[str, ...]
    settings: FitSettings
    gpus: tuple[FitGpu, ...]
    host: FitHost
    layers: FitLayers | None
    kv_cache: FitCache
    limits: FitLimits
    error_bytes: tuple[int, int]
    margin_bytes: int | None
    if_stopped: FitStopped | None
    contexts: tuple[FitContext, ...]
    speed: FitSpeed | None
    findings: tuple[FitFinding, ...]
    advice: tuple[FitAdvice, ...]
    launch: FitLaunch | None
