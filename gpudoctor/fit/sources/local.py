"""A path to a model: a GGUF file, a folder of either kind, a config.json, a cache entry."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpudoctor.fit.model import Form, Model, Unusable
from gpudoctor.fit.sources.build import build
from gpudoctor.fit.sources.config import blueprint_of, quantization_of
from gpudoctor.fit.sources.quantization import canonical, in_gguf, in_safetensors
from gpudoctor.fit.sources.resolve import native, no_gguf, remember
from gpudoctor.fit.sources.strict_json import read_json
from gpudoctor.fit.sources.tensors import Blueprint

if TYPE_CHECKING:
    from gpudoctor.fit.sources.safetensors_model import Folder


def load_path(
    name: str, path: Path, *, quant: str | None, dtype: str | None, form: Form | None, source: str | None = None
) -> Model:
    """The model at this path; raises `Unusable` when there is none that can be read."""
    try:
        if path.is_dir():
            return _folder(name, path, quant, dtype, form, source)
        if not path.exists():
            raise Unusable("there is no such file or folder", where=str(path))
        if path.name.lower().endswith(".gguf") or _starts_with(path, b"GGUF"):
            return gguf(name, path, quant, dtype, source or "gguf")
        if path.name.lower().endswith(".safetensors"):
            return _folder(name, path.parent, quant, dtype, form, source)
        if path.name.lower().endswith(".json"):
            return _folder(name, path.parent, quant, dtype, form, source, config=path)
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror or error}", where=str(path)) from None
    raise Unusable(
        "no model that can be read",
        where=str(path),
        hint="give a GGUF file, a folder with config.json or the config.json",
    )


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def gguf(
    name: str, path: Path, quant: str | None, dtype: str | None, source: str, projector: Path | None = None
) -> Model:
    """A GGUF file, at its own quantization or computed for another one."""
    from gpudoctor.fit.sources.gguf_model import load_gguf

    model, blueprint = load_gguf(path, name, source, projector)
    if quant is None or quant == model.quantization:
        return remember(model, blueprint)
    if not in_gguf(quant):
        raise no_gguf(quant)
    other = build(blueprint, name=name, source=source, form="gguf", quantization=quant, files=model.files,
                  origin=model.origin, assumed=(f"{quant} made of this {model.quantization} file",))  # fmt: skip
    return remember(other._replace(unknown=model.unknown), blueprint, dtype=dtype)


def _folder(
    name: str,
    folder: Path,
    quant: str | None,
    dtype: str | None,
    form: Form | None,
    source: str | None,
    config: Path | None = None,
) -> Model:
    file = config or folder / "config.json"
    weights = sorted(folder.glob("*.gguf"))[:4096] if config is None else []
    if weights and (form == "gguf" or not file.is_file()):
        return _gguf_folder(name, folder, weights, quant, dtype, source)
    if not file.is_file():
        _other_kinds(folder)
        raise Unusable(
            "no config.json and no GGUF file here", where=str(folder), hint="give the folder that holds the weights"
        )
    return with_config(name, folder, file, quant, dtype, form, source)


def _other_kinds(folder: Path) -> None:
    """Say what a folder is when it is something else that people have lying around."""
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        base = str(read_json(adapter).get("base_model_name_or_path", ""))[:120]
        raise Unusable("an adapter, not a model", where=str(folder), hint=f"give its base model {base}".rstrip())
    if (folder / "model_index.json").is_file():
        raise Unusable("an image or video pipeline, which is not judged", where=str(folder))
    if (folder / "params.json").is_file():
        raise Unusable(
            "only Mistral's own params.json here",
            where=str(folder),
            hint="give the folder that has config.json as well",
        )


def _gguf_folder(
    name: str, folder: Path, files: list[Path], quant: str | None, dtype: str | None, source: str | None
) -> Model:
    projectors = [file for file in files if "mmproj" in file.name.lower()]
    firsts = [
        file
        for file in files
        if file not in projectors and ("-of-" not in file.name or "-00001-of-" in file.name or not _first(file, files))
    ]
    if quant is not None and len(firsts) > 1:
        wanted = [file for file in firsts if quant.lower() in file.name.lower().replace("-", "_")]
        exact = [file for file in wanted if canonical(_tail(file)) == quant]
        firsts = exact or wanted or firsts
    if len({_tail(file) for file in firsts}) > 1 or not firsts:
        shown = ", ".join(file.name for file in firsts[:4]) or "only projectors"
        raise Unusable(f"several GGUF files here: {shown}", where=str(folder), hint="name one, or say --quant")
    return gguf(name, firsts[0], quant, dtype, source or "gguf", projectors[0] if projectors else None)


def _first(file: Path, files: list[Path]) -> bool:
    stem = file.name.rpartition("-of-")[0][:-6]
    return any(other.name.startswith(f"{stem}-00001-of-") for other in files)


def _tail(file: Path) -> str:
    stem = file.name[:-5]
    if "-of-" in stem:
        stem = stem.rpartition("-of-")[0][:-6]
    return stem.replace(".", "-").rpartition("-")[2].lower()


def with_config(
    name: str,
    folder: Path,
    file: Path,
    quant: str | None,
    dtype: str | None,
    form: Form | None,
    source: str | None,
) -> Model:
    """A folder with a config.json, and safetensors files or none."""
    from gpudoctor.fit.sources.safetensors_model import read_folder, with_files

    config = read_json(file)
    blueprint = blueprint_of(config, str(file))
    found = read_folder(folder) if file.parent == folder else None
    has_files = found is not None and (bool(found.entries) or found.total_bytes is not None)
    stored = quantization_of(config)
    if blueprint is None:
        from gpudoctor.fit.sources.unknown_model import from_tensors

        if found is None or not has_files or quant not in (None, stored):
            raise unknown_architecture(config, file)
        return from_tensors(config, found, name, source or "safetensors", stored)
    own = native(blueprint)
    if quant is None and not in_gguf(own) and not in_safetensors(own):
        return _foreign(blueprint, name, source, file, found if has_files else None, own)
    chosen = quant or own
    kind: Form = form or ("safetensors" if in_safetensors(chosen) else "gguf")
    if kind == "safetensors" and not in_safetensors(chosen):
        kind = "gguf"
    if kind == "gguf" and not in_gguf(chosen):
        if quant is not None:
            raise no_gguf(quant)
        chosen = "Q4_K_M"
    assumed = (f"quantization {chosen}",) if quant is None and chosen != own else ()
    model = _built(blueprint, name, source, kind, chosen, dtype, file, assumed, has_files)
    if found is not None and has_files and kind == "safetensors" and chosen == own and not _recast(dtype, blueprint):
        model = with_files(model, found)
    elif found is not None:
        model = model._replace(warnings=found.warnings)
    return remember(model, blueprint, dtype=dtype)


def _foreign(
    blueprint: Blueprint, name: str, source: str | None, file: Path, found: "Folder | None", own: str
) -> Model:
    """A known architecture in a quantization that no rule computes: the bytes are those of its files."""
    from gpudoctor.fit.sources.safetensors_model import with_files

    if found is None or found.total_bytes is None:
        raise Unusable(
            f"its quantization {own!r} is not known",
            where=str(file),
            hint="give --quant, or the folder with all its weights",
        )
    shape = build(blueprint, name=name, source=source or "safetensors", form="safetensors", quantization="BF16",
                  files=(str(file),), origin=str(file))  # fmt: skip
    return remember(with_files(shape, found)._replace(quantization=own), blueprint)


def _recast(dtype: str | None, blueprint: Blueprint) -> bool:
    return dtype is not None and {"bf16": 2, "f16": 2, "f32": 4}[dtype] != (4 if blueprint.dtype == "f32" else 2)


def _built(
    blueprint: Blueprint,
    name: str,
    source: str | None,
    form: Form,
    quantization: str,
    dtype: str | None,
    file: Path,
    assumed: tuple[str, ...],
    has_files: bool,
) -> Model:
    return build(
        blueprint, name=name, source=source or ("safetensors" if has_files else "config.json"), form=form,
        quantization=quantization, dtype=dtype, files=(str(file),), origin=str(file), assumed=assumed,
    )  # fmt: skip


def unknown_architecture(config: dict[str, Any], file: Path) -> Unusable:
    """The error for a configuration no rule describes when there are no tensors to count."""
    shown = str(config.get("model_type") or "none given")[:60]
    return Unusable(
        f"architecture {shown!r} is not known, and there are no weight headers to count",
        where=str(file),
        hint="put the safetensors files or their index beside it, or give a GGUF file",
    )
