"""One module per engine: its own rules, constants and the version breaks that change the answer."""

import importlib
from typing import Protocol, cast

from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.model import Form, Model
from gpudoctor.fit.prediction import Prediction
from gpudoctor.fit.settings import Settings

_MODULES = {
    "ollama": "ollama",
    "llama.cpp": "llama_cpp",
    "vllm": "vllm",
    "sglang": "sglang",
    "tgi": "tgi",
    "transformers": "transformers",
    "ktransformers": "ktransformers",
}


class Engine(Protocol):
    """What every engine's module offers."""

    NAME: str
    FORM: Form

    def prepare(self, model: Model, settings: Settings, hardware: Hardware) -> tuple[Settings, tuple[str, ...]]:
        """Fill in the defaults and say which were assumed. Raises Unusable for flags that contradict each other."""

    def predict(self, model: Model, settings: Settings, hardware: Hardware) -> Prediction:
        """Say what the engine does with prepared settings."""


def engine(name: str) -> Engine:
    """Return the module of an engine of `settings.ENGINES`, imported when it is first asked for."""
    return cast("Engine", importlib.import_module(f"gpudoctor.fit.engines.{_MODULES[name]}"))
