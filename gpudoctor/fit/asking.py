"""From a name and flags to a question: load the model, fill in engine and version."""

from pathlib import Path

from gpudoctor.fit.engines import engine as rules_of
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.newest import newest
from gpudoctor.fit.question import Question
from gpudoctor.fit.settings import Settings


def default_engine(form: str, source: str) -> str:
    """The engine for a model when none is named: by what the name is."""
    if form == "safetensors":
        return "vllm"
    return "llama.cpp" if source == "gguf" else "ollama"


def question(
    name: str,
    settings: Settings,
    hardware: Hardware,
    *,
    online: bool = False,
    ollama_models: str | Path | None = None,
    hub_cache: str | Path | None = None,
    token: str | None = None,
) -> Question:
    """Load the model and fill in the engine and its version where none is named.

    `hub_cache` is the Hugging Face cache, its usual place when None; `token` opens gated models with `online`.

    Raises Unusable for a name that cannot be judged.
    """
    from gpudoctor.fit import sources

    form = rules_of(settings.engine).FORM if settings.engine else None
    model = sources.load(
        name, quant=settings.quant, dtype=settings.dtype, form=form, online=online, ollama_models=ollama_models,
        hub_cache=hub_cache, token=token,
    )  # fmt: skip
    assumed = []
    if settings.engine is None:
        here = [name for name, _, _ in hardware.engines if name != "transformers" and model.form == rules_of(name).FORM]
        settings = settings._replace(engine=here[0] if here else default_engine(model.form, model.source))
        assumed.append(f"engine {settings.engine}" + (", which is here" if here else ""))
    if settings.version is None:
        installed = [version for name, version, _ in hardware.engines if name == settings.engine and version]
        version = installed[0] if installed else newest(settings.engine or "")
        settings = settings._replace(version=version)
        assumed.append(f"engine version {version or 'newest'}" + (", the one installed" if installed else ""))
    return Question(model, settings, hardware, tuple(assumed))
