"""What an engine's rules say: memory per GPU, the verdict, and the arithmetic behind it."""

from typing import Literal, NamedTuple

from gpudoctor.fit.settings import Settings

Verdict = Literal["fits", "partial", "does-not-fit", "cannot-run", "unknown"]


class Need(NamedTuple):
    """Memory of one GPU in bytes. A term that cannot be known is None."""

    weights: int | None = 0
    kv_cache: int | None = 0
    compute: int | None = 0
    overhead: int | None = 0
    """CUDA context, non-torch and NCCL memory, CUDA graphs, run-time pool."""
    required: int | None = None
    """What the engine will allocate; None: the sum of the terms."""
    minimum: int | None = None
    """The smallest that serves what was asked; None: as required."""
    layers: tuple[int, int] | None = None
    """First and last layer on this GPU; the output matrix counts as a last layer."""

    @property
    def total(self) -> int | None:
        """What the engine will allocate, in bytes; None when a term is not known."""
        if self.required is not None:
            return self.required
        terms = (self.weights, self.kv_cache, self.compute, self.overhead)
        known = [term for term in terms if term is not None]
        return sum(known) if len(known) == len(terms) else None

    @property
    def least(self) -> int | None:
        """The smallest memory that serves what was asked, in bytes."""
        return self.minimum if self.minimum is not None else self.total


class Term(NamedTuple):
    """One line of the arithmetic: what, how many bytes, by which formula, after whom."""

    what: str
    value_bytes: int | None
    formula: str
    source: str


class Reason(NamedTuple):
    """Why the verdict is what it is, or what to know beside it: a finding before it is put into words.

    `check` is its id; `message` and the texts of `steps` are templates over `params`.
    """

    check: str
    status: Literal["fail", "warn", "info", "unknown", "pass"]
    message: str
    params: dict[str, str | int | float | None]
    steps: tuple[tuple[str, str | None], ...] = ()
    """(text, command) of each way out."""
    subject: str = "host"
    evidence: tuple[tuple[str, str | int | float | None, str], ...] = ()
    """(what, value, source)."""
    links: tuple[str, ...] = ()


class Prediction(NamedTuple):
    """The whole answer of one engine for one model, one set of flags and one set of GPUs."""

    verdict: Verdict
    gpus: tuple[Need, ...]
    settings: Settings
    """The flags with every default filled in."""
    kv_bytes_per_token: float | None = None
    """All GPUs together."""
    kv_tokens: int | None = None
    """Tokens that the cache holds, per engine replica."""
    kv_needed_bytes: int | None = None
    """What the context and parallel asked for need, all GPUs together."""
    max_concurrency: float | None = None
    host_bytes: int | None = None
    layers_total: int | None = None
    layers_on_gpu: int | None = None
    assumed: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    terms: tuple[Term, ...] = ()
    error: tuple[int, int] = (0, 0)
    """How far off the required memory of the fullest GPU may be: bytes less, bytes more."""
    margin_bytes: int | None = None
    """What is left on the fullest GPU; negative: what is missing."""
    message: str | None = None
    """What the engine itself would print when it refuses."""
    cpu_weights_bytes: int = 0
    """Weights that stay in host memory and are read for every token."""
