"""A service to be placed, as its file or the machine says it, and what it holds on the GPUs it is given."""

from typing import NamedTuple

from gpudoctor.facts.compose import Place
from gpudoctor.fit.prediction import Need, Prediction
from gpudoctor.fit.question import Question
from gpudoctor.fit.settings import Settings

#: More than one machine runs; the search is made for dozens.
MOST_SERVICES = 256
#: Where a service stands that no file names.
RUNNING = "running now"
#: Engines that take a share of each GPU's whole memory when they start.
SHARED = frozenset({"vllm", "sglang"})
#: Engines that divide a model evenly over their GPUs, and want fast links between them.
PARALLEL = frozenset({"vllm", "sglang", "tgi"})
#: Engines that divide the layers of a model over their GPUs by what is free there when it is loaded.
LAYERED = frozenset({"ollama", "llama.cpp"})


class Service(NamedTuple):
    """What is known of a service before anything is placed.

    ``engine`` has models that fit computes, ``kind`` is of the table of kinds, ``memory_bytes`` is what its owner says;
    ``measured`` what it holds now by GPU. ``share`` is what an engine takes of each GPU, whatever its model.
    ``written`` are the GPUs that it names, ``pinned`` means that they stay. ``problem`` says why nothing is known.
    ``after`` names services that start before it.
    """

    name: str
    origin: Place
    engine: str | None = None
    kind: str | None = None
    models: tuple[str, ...] = ()
    settings: Settings = Settings()
    memory_bytes: int | None = None
    measured: tuple[tuple[int, int], ...] = ()
    share: float | None = None
    written: tuple[int, ...] | None = None
    pinned: bool = False
    problem: str | None = None
    after: tuple[str, ...] = ()
    max_loaded: int | None = None
    strict: bool = False
    """A name that is not known ends the command, instead of one finding: the file was made for plan."""

    @property
    def subject(self) -> str:
        """Its name in findings."""
        return f"service:{self.name}"

    @property
    def takes_share(self) -> bool:
        """It takes a share of the whole GPU, whatever the model."""
        return self.engine in SHARED


class Flavour(NamedTuple):
    """One way to run a service: as written, with a smaller share, with a shorter context.

    ``steps`` counts how far the context is from the engine's default; ``lowered``: a share that was written has to go.
    """

    context: int | None = None
    free_share: bool = False
    steps: int = 0
    lowered: bool = False
    in_turn: bool = False
    """The models of one Ollama make room for each other, instead of staying together."""
    beside: bool = False
    """It divides itself so only where the others are there first."""


class Load(NamedTuple):
    """What a service holds on a list of GPUs, in their order. ``claims`` are bytes that the plan sets aside.

    ``needs`` are the engine's own figures on idle GPUs.
    """

    claims: tuple[int, ...]
    needs: tuple[Need, ...]
    predictions: tuple[Prediction, ...] = ()
    question: Question | None = None

    @property
    def used(self) -> int:
        """How many of the GPUs it really uses."""
        return sum(claim > 0 for claim in self.claims)
