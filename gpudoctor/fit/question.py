"""A question to an engine, and the shape of the whole answer."""

from typing import NamedTuple

from gpudoctor.fit.engines import Engine, engine
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.model import Model
from gpudoctor.fit.prediction import Prediction, Reason
from gpudoctor.fit.settings import Settings


class Question(NamedTuple):
    """A model, flags as given, and GPUs: everything an engine needs to answer."""

    model: Model
    settings: Settings
    hardware: Hardware
    assumed: tuple[str, ...] = ()

    @property
    def rules(self) -> Engine:
        """The engine asked."""
        return engine(self.settings.engine or "vllm")


class Limits(NamedTuple):
    """The most that fits; 0 when nothing does, None when it cannot be computed."""

    max_context: int | None
    max_parallel: int | None


class Row(NamedTuple):
    """One line of the context table."""

    context: int
    prediction: Prediction
    decode_tokens_per_s: float | None


class Advice(NamedTuple):
    """Something else that fits: a template over `params`, the flags to change, and what it costs (0 nothing)."""

    text: str
    params: dict[str, str | int | float | None]
    change: dict[str, str | int | float | bool]
    cost: float


class Answer(NamedTuple):
    """A prediction with everything around it."""

    question: Question
    prediction: Prediction
    limits: Limits
    contexts: tuple[Row, ...] = ()
    if_stopped: Prediction | None = None
    assumed: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    advice: tuple[Advice, ...] = ()
    decode_tokens_per_s: float | None = None
    speed_basis: str | None = None
