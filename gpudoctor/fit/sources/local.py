"""A path to a model: a GGUF file, a folder, a config.json."""

from pathlib import Path

from gpudoctor.fit.model import Form, Model, Unusable
from gpudoctor.fit.sources.build import build
from gpudoctor.fit.sources.config import blueprint_of
from gpudoctor.fit.sources.quantization import in_gguf, in_safetensors
from gpudoctor.fit.sources.resolve import native, no_gguf, remember
from gpudoctor.fit.sources.strict_json import read_json


def load_path(name: str, path: Path, *, quant: str | None, dtype: str | None, form: Form | None) -> Model:
    """The model at this path; raises `Unusable` when there is none that can be read."""
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        raise Unusable("no config.json, GGUF file or safetensors file here", where=str(path))
    config = read_json(file)
    blueprint = blueprint_of(config, str(file))
    if blueprint is None:
        raise Unusable("architecture unknown", where=str(file))
    chosen = quant or native(blueprint)
    kind: Form = form or ("safetensors" if in_safetensors(chosen) else "gguf")
    if kind == "safetensors" and not in_safetensors(chosen):
        kind = "gguf"
    if kind == "gguf" and not in_gguf(chosen):
        raise no_gguf(chosen)
    model = build(
        blueprint, name=name, source="config.json", form=kind, quantization=chosen, dtype=dtype, files=(str(file),)
    )
    return remember(model, blueprint, dtype=dtype)
