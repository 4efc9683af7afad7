"""Models that are already on this machine: the Ollama store and the Hugging Face cache."""

import os
from pathlib import Path

from gpudoctor.fit.model import Form, Model, Unusable
from gpudoctor.fit.sources import hub, ollama_store
from gpudoctor.fit.sources.names import Name


def from_store(name: Name, quant: str | None, dtype: str | None, given: str | Path | None) -> Model | None:
    """The model under this tag in an Ollama store; None when no store has it.

    A blob that is missing or short ends in `Model.warnings` when a header can be read at all; else None
    with nothing said, so that the catalogue may answer.
    """
    for root in ollama_store.stores(given):
        try:
            found = _in_store(root, name, quant, dtype)
        except OSError:
            continue
        if found is not None:
            return found
    return None


def _in_store(root: Path, name: Name, quant: str | None, dtype: str | None) -> Model | None:
    manifest = ollama_store.manifest_path(root, name.text)
    if manifest is None or not os.access(manifest, os.R_OK):
        return None
    from gpudoctor.fit.sources.local import gguf

    blobs = ollama_store.blobs_of(manifest)
    model_blob = next(b for b in blobs if b.media_type == ollama_store.MODEL)
    file = ollama_store.blob_path(root, model_blob)
    if not file.is_file() or not os.access(file, os.R_OK):
        return None
    projector = next((b for b in blobs if b.media_type == ollama_store.PROJECTOR), None)
    beside = ollama_store.blob_path(root, projector) if projector else None
    warnings = []
    if projector is not None and beside is not None and not beside.is_file():
        warnings.append(f"the projector's blob sha256-{projector.digest[:12]} is missing")
        beside = None
    model = gguf(name.text, file, quant, dtype, "ollama store", beside)
    size = file.stat().st_size
    if size < model_blob.size and not model.warnings:
        warnings.append(f"the model's blob has {size} of {model_blob.size} bytes: an interrupted pull or copy")
    return model._replace(warnings=(*model.warnings, *warnings))


def missing_blob(name: Name, given: str | Path | None) -> str | None:
    """One sentence when a store has this tag's manifest but its blob is missing or may not be read."""
    for root in ollama_store.stores(given):
        try:
            manifest = ollama_store.manifest_path(root, name.text)
            if manifest is None:
                continue
            blobs = ollama_store.blobs_of(manifest)
        except OSError:
            continue
        except Unusable as error:
            return f"the Ollama manifest cannot be read: {error.message}"
        for blob in blobs:
            if blob.media_type == ollama_store.MODEL:
                there = ollama_store.blob_path(root, blob).is_file()
                why = "may not be read by this user" if there else "is missing"
                return f"the Ollama store has the manifest, but its blob sha256-{blob.digest[:12]} {why}"
    return None


def from_cache(
    name: Name, quant: str | None, dtype: str | None, form: Form | None, given: str | Path | None
) -> Model | None:
    """The model in the Hugging Face cache, None when it is not cached or cannot be read there."""
    folder = hub.snapshot(name.repository, given)
    if folder is None:
        return None
    from gpudoctor.fit.sources.local import load_path

    try:
        return load_path(name.text, folder, quant=quant, dtype=dtype, form=form, source="hub cache")
    except Unusable:
        return None
