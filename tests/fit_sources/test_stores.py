from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources import load
from gpudoctor.fit.sources.ollama_store import reference

from .making import write_folder, write_gguf

MODEL = "application/vnd.ollama.image.model"


def pulled(root: Path, name: str, blob: bytes, size: int | None = None) -> Path:
    """Put a model into an Ollama store as `ollama pull` does; gives the blob's path."""
    digest = hashlib.sha256(blob).hexdigest()
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    path = root / "blobs" / f"sha256-{digest}"
    path.write_bytes(blob)
    layers = [
        {"mediaType": MODEL, "digest": f"sha256:{digest}", "size": len(blob) if size is None else size},
        {"mediaType": "application/vnd.ollama.image.license", "digest": f"sha256:{'0' * 64}", "size": 10},
    ]
    manifest = root / "manifests" / Path(name)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return path


def test_a_pulled_model_is_read_from_its_blob(tmp_path: Path) -> None:
    blob = write_gguf(tmp_path / "a.gguf").read_bytes()
    store = tmp_path / "models"
    pulled(store, "registry.ollama.ai/library/llama3.1/8b", blob)
    for name in ("llama3.1:8b", "LLAMA3.1:8B", "library/llama3.1:8b"):
        model = load(name, ollama_models=store)
        assert (model.source, model.local, model.name) == ("ollama store", True, name)
        assert model.weights_bytes == load(str(tmp_path / "a.gguf")).weights_bytes
    assert load("llama3.1:70b", ollama_models=store).source == "catalogue"


def test_latest_and_owners(tmp_path: Path) -> None:
    blob = write_gguf(tmp_path / "a.gguf").read_bytes()
    pulled(tmp_path, "registry.ollama.ai/library/mine/latest", blob)
    pulled(tmp_path, "registry.ollama.ai/someone/mine/q8", blob)
    pulled(tmp_path, "hf.co/Someone/Mine-GGUF/Q8_0", blob)
    assert load("mine", ollama_models=tmp_path).source == "ollama store"
    assert load("someone/mine:q8", form="gguf", ollama_models=tmp_path, hub_cache=tmp_path).source == "ollama store"
    assert load("hf.co/someone/mine-gguf:Q8_0", form="gguf", ollama_models=tmp_path, hub_cache=tmp_path).local


def test_an_interrupted_pull_is_a_warning(tmp_path: Path) -> None:
    blob = write_gguf(tmp_path / "a.gguf").read_bytes()
    path = pulled(tmp_path, "registry.ollama.ai/library/llama3.1/8b", blob)
    path.write_bytes(blob[: len(blob) // 2])
    assert "early" in load("llama3.1:8b", ollama_models=tmp_path).warnings[0]
    path.unlink()
    model = load("llama3.1:8b", ollama_models=tmp_path)
    assert model.source == "catalogue"
    assert "is missing" in model.warnings[0]


def test_a_broken_manifest_is_one_line(tmp_path: Path) -> None:
    pulled(tmp_path, "registry.ollama.ai/library/mine/latest", b"x").write_bytes(b"GGUF")
    with pytest.raises(Unusable, match="no GGUF file"):
        load("mine", ollama_models=tmp_path)
    (tmp_path / "manifests/registry.ollama.ai/library/mine/latest").write_text('{"layers": 5}')
    with pytest.raises(Unusable, match="lists no layers"):
        load("mine", ollama_models=tmp_path)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("llama3.1", ("registry.ollama.ai", "library", "llama3.1", "latest")),
        ("a/b:c", ("registry.ollama.ai", "a", "b", "c")),
        ("hf.co/a/b:Q4", ("hf.co", "a", "b", "Q4")),
        ("../../etc:passwd", None),
        ("a/b/c/d", None),
        ("a:../b", None),
    ],
)
def test_references(name: str, parts: tuple[str, ...] | None) -> None:
    assert reference(name) == parts


def test_a_cached_repository_is_read_by_its_id(tmp_path: Path) -> None:
    entry = tmp_path / "models--Someone--Some-Model"
    revision = "0123456789abcdef0123456789abcdef01234567"
    write_folder(entry / "snapshots" / revision, 2)
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text(revision)
    for name in ("Someone/Some-Model", "someone/some-model", "https://huggingface.co/Someone/Some-Model"):
        model = load(name, hub_cache=tmp_path)
        assert (model.source, model.local) == ("hub cache", True)
    next((entry / "snapshots" / revision).glob("*00002*")).unlink()
    assert load("Someone/Some-Model", hub_cache=tmp_path).warnings
    with pytest.raises(Unusable, match="no model called"):
        load("Someone/Other-Model", hub_cache=tmp_path)


def test_a_cache_entry_that_cannot_be_read_leaves_it_to_the_catalogue(tmp_path: Path) -> None:
    (tmp_path / "models--Qwen--Qwen3-8B" / "snapshots" / "abc").mkdir(parents=True)
    assert load("Qwen/Qwen3-8B", hub_cache=tmp_path).source == "catalogue"


def test_a_store_that_may_not_be_read_leaves_it_to_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pulled(tmp_path, "registry.ollama.ai/library/llama3.1/8b", write_gguf(tmp_path / "a.gguf").read_bytes())
    monkeypatch.setattr("os.access", lambda file, _: Path(file) != path)
    model = load("llama3.1:8b", ollama_models=tmp_path)
    assert model.source == "catalogue"
    assert "may not be read" in model.warnings[0]
