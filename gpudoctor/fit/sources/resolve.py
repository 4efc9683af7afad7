"""One way in: a name, file or folder to a `Model`.

What exists on disk is read; else an Ollama tag is looked for in the local store and a repository id in the
Hugging Face cache; else the catalogue answers; else, with ``--online``, the headers at the registry or the
Hub. Nothing is fetched otherwise.
"""

import functools
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

from gpudoctor.fit.model import Form, Model, Unusable
from gpudoctor.fit.sources.catalogue import Row
from gpudoctor.fit.sources.names import Name, keys, nearest, parse
from gpudoctor.fit.sources.quantization import is_approximated
from gpudoctor.fit.sources.tensors import Blueprint


class Kept(NamedTuple):
    """What it takes to build a model again at another quantization."""

    blueprint: Blueprint
    layout: str
    dtype: str | None
    together: bool


_KEPT: OrderedDict[tuple[Any, ...], Kept] = OrderedDict()
_KEEP = 64


def _key(model: Model) -> tuple[Any, ...]:
    return (model.name, model.source, model.architecture, model.parameters, model.files[:1])


def remember(
    model: Model, blueprint: Blueprint | None, *, layout: str = "", dtype: str | None = None, together: bool = False
) -> Model:
    """Keep a model's blueprint for `requantized`, and return the model."""
    if blueprint is not None:
        _KEPT[_key(model)] = Kept(blueprint, layout, dtype, together)
        while len(_KEPT) > _KEEP:
            _KEPT.popitem(last=False)
    return model


def requantized(model: Model, quant: str) -> Model | None:
    """The same model at another quantization, None when its bytes cannot be computed.

    `quant` is a name as `--quant` takes it. The form stays, unless only the other one has such a thing.
    """
    from gpudoctor.fit.sources.build import build
    from gpudoctor.fit.sources.quantization import canonical, in_gguf, in_safetensors

    kept, name = _KEPT.get(_key(model)), canonical(quant)
    if kept is None or name is None:
        return None
    form = model.form
    if form == "safetensors" and not in_safetensors(name):
        form = "gguf"
    elif form == "gguf" and not in_gguf(name):
        form = "safetensors"
    return build(
        kept.blueprint, name=model.name, source=model.source, form=form, quantization=name, dtype=kept.dtype,
        layout=kept.layout, together=kept.together, files=model.files, origin=model.origin, warnings=model.warnings,
        assumed=model.assumed,
    )  # fmt: skip


def load(
    name: str,
    *,
    quant: str | None = None,
    dtype: str | None = None,
    form: Form | None = None,
    online: bool = False,
    ollama_models: str | Path | None = None,
    hub_cache: str | Path | None = None,
    token: str | None = None,
) -> Model:
    """The model behind a name, file or folder.

    `quant` overrides the quantization, `dtype` (``bf16``, ``f16``, ``f32``) the type of what is not
    quantized. `form` is what the engine reads. `ollama_models` and `hub_cache` are the local stores, the
    usual places when None. Raises `Unusable` for everything that cannot be judged.
    """
    if quant is not None and quant.strip().lower() == "gguf":
        quant, form = None, "gguf"
    wanted = wanted_quantization(quant)
    kept_dtype = wanted_dtype(dtype)
    path = Path(name).expanduser() if len(name) < 4096 and "\0" not in name else None
    if path is not None and _looks_local(name, path):
        from gpudoctor.fit.sources.local import load_path

        model = load_path(name, path, quant=wanted, dtype=kept_dtype, form=form)
    else:
        parsed = parse(name)
        if parsed is None:
            raise Unusable("that is no name of a model", hint="give an Ollama tag, a repository id or a path")
        model = _named(parsed, wanted, kept_dtype, form, online, ollama_models, hub_cache, token)
    if quant is not None and wanted is not None and is_approximated(quant):
        return model._replace(assumed=(*model.assumed, f"{quant.strip().upper()[:40]} taken as {wanted}"))
    return model


def _named(
    parsed: Name,
    quant: str | None,
    dtype: str | None,
    form: Form | None,
    online: bool,
    ollama_models: str | Path | None,
    hub_cache: str | Path | None,
    token: str | None,
) -> Model:
    """The model behind a name: from a local store, else over the network when asked to, else the catalogue."""
    from gpudoctor.fit.sources.stored import from_cache, from_store, missing_blob

    found = from_cache(parsed, quant, dtype, form, hub_cache) if parsed.repository else None
    if found is None and form != "safetensors":
        found = from_store(parsed, quant, dtype, ollama_models)
    if found is not None:
        return found
    failure: Unusable | None = None
    if online:
        from gpudoctor.fit.sources.online import load_online

        try:
            return load_online(parsed, quant=quant, dtype=dtype, form=form, token=token)
        except Unusable as error:
            failure = error
    found = from_catalogue(parsed, quant, dtype, form)
    if found is None:
        raise failure or unknown(parsed)
    lost = None if form == "safetensors" else missing_blob(parsed, ollama_models)
    if failure is not None:
        found = found._replace(assumed=(*found.assumed, f"the catalogue's figures, because {failure.message}"))
    return found._replace(warnings=(lost,)) if lost else found


def wanted_quantization(quant: str | None) -> str | None:
    """Canonical name of what ``--quant`` says; raises `Unusable` for a name nobody knows."""
    from gpudoctor.fit.sources.quantization import canonical, known, near_dynamic

    if quant is None:
        return None
    name = canonical(quant) or near_dynamic(quant)
    if name is None:
        shown = quant[:60]
        near = nearest(shown.lower(), [k.lower() for k in known()])
        like = {k.lower(): k for k in known()}
        hint = "did you mean " + ", ".join(like[n] for n in near) + "?" if near else "one of " + ", ".join(known())
        raise Unusable(f"no quantization is called {shown!r}", where="--quant", hint=hint)
    return name


def wanted_dtype(dtype: str | None) -> str | None:
    """``bf16``, ``f16`` or ``f32`` for any spelling; None for None and ``auto``."""
    if dtype is None or dtype.lower() == "auto":
        return None
    from gpudoctor.fit.sources.quantization import canonical

    name = canonical(dtype)
    if name not in ("BF16", "F16", "F32"):
        raise Unusable(f"no data type is called {dtype[:60]!r}", where="--dtype", hint="one of bf16, f16, f32")
    return name.lower()


def _looks_local(name: str, path: Path) -> bool:
    """Whether a name is a path: written as one, or the name of something here that holds a model."""
    if name.startswith(("/", "./", "../", "~")):
        return True
    try:
        if path.is_dir():
            return (path / "config.json").is_file() or next(path.glob("*.gguf"), None) is not None
        return path.is_file() or name.lower().endswith((".gguf", ".safetensors", ".json"))
    except OSError:
        return False


@functools.lru_cache(maxsize=64)
def from_catalogue(parsed: Name, quant: str | None, dtype: str | None, form: Form | None) -> Model | None:
    """The model from the catalogue, None when no row has the name."""
    from gpudoctor.fit.sources import catalogue
    from gpudoctor.fit.sources.build import build
    from gpudoctor.fit.sources.config import blueprint_of
    from gpudoctor.fit.sources.quantization import in_gguf, in_safetensors

    found = catalogue.find(keys(parsed))
    if found is None:
        return None
    row, key = found
    blueprint = blueprint_of(row.config, f"catalogue: {row.name}")
    if blueprint is None:
        raise Unusable(f"the catalogue's row {row.name} has an architecture without a rule", where=row.name)
    tag = key in row.tags
    layout = row.layout if tag else ""
    if layout == "ollama" and "output" in row.counts and form != "safetensors":
        blueprint = blueprint._replace(output=(blueprint.embedding[0]._replace(role="output"),))
    assumed = []
    chosen = quant or parsed.quantization
    if form is None:
        form = "gguf" if parsed.is_tag or parsed.gguf or (chosen and not in_safetensors(chosen)) else "safetensors"
    if chosen is None:
        chosen = row.quantization if form == "gguf" else native(blueprint)
        if form == "gguf" and not tag:
            assumed.append(f"quantization {chosen}")
    if quant is None and parsed.approximated:
        assumed.append(f"{parsed.approximated.upper()} taken as {chosen}")
    if form == "safetensors" and not in_safetensors(chosen):
        form = "gguf"
    if form == "gguf" and not in_gguf(chosen):
        if quant is not None:
            raise no_gguf(quant)
        chosen = row.quantization
        assumed.append(f"quantization {chosen}")
    repacked = form == "safetensors" and quant is None and chosen != native(blueprint) and _another(parsed, row)
    if repacked:
        assumed.append(f"{chosen} in its usual groups, embeddings in 16 bit: only the name was read")
    model = build(
        blueprint, name=parsed.text, source="catalogue", form=form, quantization=chosen, dtype=dtype,
        layout=layout, together=tag,
        file_bytes=_published(row, key, chosen, form, native(blueprint)), origin=row.source, assumed=tuple(assumed),
    )._replace(repacked=repacked)  # fmt: skip
    return remember(model, blueprint, layout=layout, dtype=dtype, together=tag)


def _another(parsed: Name, row: Row) -> bool:
    """Whether a repository belongs to another publisher than the model."""
    owner = parsed.repository.partition("/")[0].lower()
    return bool(owner) and owner != row.name.partition("/")[0].lower()


def _published(row: Row, key: str, quant: str, form: Form, own: str) -> int | None:
    """Bytes of the published file, when the quantization is the one it was published with."""
    if form == "gguf":
        return row.sizes.get(key if quant == row.quantization else quant)
    return row.sizes.get(row.name) if quant == own else None


def native(blueprint: Blueprint) -> str:
    """The quantization in which a model's safetensors files are published."""
    return blueprint.quantization or {"f16": "F16", "f32": "F32"}.get(blueprint.dtype, "BF16")


def no_gguf(quant: str) -> Unusable:
    """The error for a quantization that GGUF files cannot have."""
    return Unusable(
        f"GGUF files have no {quant}",
        where="--quant",
        hint="take Q8_0, Q6_K, Q5_K_M or Q4_K_M, or an engine for safetensors",
    )


def unknown(parsed: Name) -> Unusable:
    """The error for a name that nothing knows, with the nearest ones."""
    from gpudoctor.fit.sources.catalogue import index

    near = nearest(parsed.base, index().shown)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    return Unusable(
        f"no model called {parsed.text[:120]!r} in the catalogue, the Ollama store or the Hugging Face cache",
        where=None,
        hint=hint + "a path to its GGUF file or config.json works offline; --online reads only its header",
    )
