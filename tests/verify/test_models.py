"""Models that arrived broken, or not whole, are named; those that arrived whole are not."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fit_sources.making import write_gguf

from .conftest import Verdict
from .stores import cut, flip, hash_list, ollama_store, sha256, sharded

Verify = Callable[..., Verdict]
BROKEN = "model.files-broken"


@pytest.fixture
def store(tmp_path: Path) -> dict[str, Path]:
    return ollama_store(tmp_path, write_gguf(tmp_path / "made.gguf").rename(tmp_path.parent / "made").read_bytes())


def test_a_whole_store_of_ollama_is_whole(verify: Verify, tmp_path: Path, store: dict[str, Path]) -> None:
    verdict = verify(tmp_path)
    assert (verdict.code, len(verdict.of("pass")), verdict.of("fail", "warn", "unknown")) == (0, 4, [])


@pytest.mark.parametrize("harm", [flip, cut, lambda path: path.write_bytes(b"")])
def test_a_blob_that_is_not_what_its_name_says(
    verify: Verify, tmp_path: Path, store: dict[str, Path], harm: Callable[[Path], None]
) -> None:
    harm(store["weights"])
    verdict = verify(tmp_path)
    assert (verdict.code, verdict.of("fail")) == (1, [(BROKEN, f"blobs/{store['weights'].name}")])


def test_two_blobs_that_changed_places(verify: Verify, tmp_path: Path, store: dict[str, Path]) -> None:
    one, other = store["config"].read_bytes(), store["license"].read_bytes()
    store["config"].write_bytes(other)
    store["license"].write_bytes(one)
    assert len(verify(tmp_path).of("fail")) == 2


def test_a_blob_that_a_manifest_names_is_missing(verify: Verify, tmp_path: Path, store: dict[str, Path]) -> None:
    store["weights"].unlink()
    verdict = verify(tmp_path)
    assert verdict.of("fail") == [(BROKEN, f"blobs/{store['weights'].name}")]
    assert verdict.message() == "it is missing: its name names it"


def test_one_blob_alone_is_compared_with_its_name(verify: Verify, store: dict[str, Path]) -> None:
    assert verify(store["weights"]).code == 0


def test_the_blobs_alone_are_compared_with_their_names(verify: Verify, tmp_path: Path, store: dict[str, Path]) -> None:
    flip(store["config"])
    assert verify(tmp_path / "blobs").of("fail") == [(BROKEN, f"blobs/{store['config'].name}")]


def test_a_manifest_that_is_cut(verify: Verify, tmp_path: Path, store: dict[str, Path]) -> None:
    cut(store["manifest"], 5)
    assert verify(tmp_path).of("fail") == [(BROKEN, "manifests/registry.ollama.ai/library/tiny/1b")]


def test_a_pull_that_was_never_finished(verify: Verify, tmp_path: Path, store: dict[str, Path]) -> None:
    (tmp_path / "blobs" / f"sha256-{'c' * 64}-partial").write_bytes(b"x")
    verdict = verify(tmp_path)
    assert (verdict.code, verdict.of("warn")) == (0, [(BROKEN, f"blobs/sha256-{'c' * 64}-partial")])


def test_a_manifest_need_not_name_weights(verify: Verify, tmp_path: Path, store: dict[str, Path]) -> None:
    """Models of several tensors' blobs, or of the cloud."""
    manifest = store["manifest"].read_text(encoding="utf-8").replace("ollama.image.model", "ollama.image.tensor")
    store["manifest"].write_text(manifest, encoding="utf-8")
    assert verify(tmp_path).code == 0


def test_a_model_without_a_checksum_is_not_called_whole(verify: Verify, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf")
    verdict = verify(path)
    assert (verdict.code, verdict.of("pass")) == (3, [])
    assert verdict.of("unknown") == [("files.unverifiable", "model.gguf")]


@pytest.mark.parametrize("count", [1, 5000])
def test_a_gguf_file_that_is_shorter_than_its_header_says(verify: Verify, tmp_path: Path, count: int) -> None:
    cut(write_gguf(tmp_path / "model.gguf"), count)
    verdict = verify(tmp_path)
    assert (verdict.code, verdict.of("fail")) == (1, [(BROKEN, "model.gguf")])


def test_a_shard_that_is_cut_or_has_grown(verify: Verify, tmp_path: Path) -> None:
    first, second, _ = sharded(tmp_path)
    cut(first)
    second.write_bytes(second.read_bytes() + b"x")
    assert verify(tmp_path).of("fail") == [(BROKEN, first.name), (BROKEN, second.name)]


def test_a_shard_is_missing(verify: Verify, tmp_path: Path) -> None:
    sharded(tmp_path)[1].unlink()
    assert verify(tmp_path).of("fail") == [(BROKEN, "model-00002-of-00003.safetensors")]


def test_a_part_of_a_gguf_set_is_missing(verify: Verify, tmp_path: Path) -> None:
    for number in (1, 3):
        write_gguf(tmp_path / f"big-{number:05}-of-00003.gguf")
    assert verify(tmp_path).of("fail") == [(BROKEN, "big-00002-of-00003.gguf")]


def test_a_shard_of_another_model_under_the_right_name(verify: Verify, tmp_path: Path) -> None:
    first, second, _ = sharded(tmp_path)
    first.write_bytes(second.read_bytes())
    verdict = verify(tmp_path)
    assert verdict.of("fail") == [(BROKEN, first.name)]
    assert "lacks 1 of the tensors" in verdict.message()


def test_an_index_that_leads_out_of_its_folder(verify: Verify, tmp_path: Path) -> None:
    sharded(tmp_path / "m")
    index = tmp_path / "m" / "model.safetensors.index.json"
    index.write_text(index.read_text(encoding="utf-8").replace('"model-00001', '"../model-00001'), encoding="utf-8")
    assert verify(tmp_path).of("fail") == [(BROKEN, "m/model.safetensors.index.json")]


def test_a_checksum_covers_a_model_whole(verify: Verify, tmp_path: Path) -> None:
    files = sharded(tmp_path)
    hash_list(tmp_path, *(each.name for each in files))
    verdict = verify(tmp_path)
    assert (verdict.code, len(verdict.of("pass"))) == (0, 4)
    flip(files[0])
    assert verify(tmp_path).of("fail") == [(BROKEN, files[0].name)]


def hub_cache(root: Path) -> dict[str, Path]:
    """A cache as huggingface_hub lays it out: LFS files by SHA-256, small ones by git's name for them."""
    import hashlib

    repository, commit = root / "models--acme--tiny", "d" * 40
    big = sharded(root / "made", 1)[0].read_bytes()
    small = b'{"model_type": "llama"}'
    blobs = {
        "model-00001-of-00001.safetensors": (big, sha256(big)),
        "config.json": (small, hashlib.sha1(b"blob %d\0" % len(small) + small).hexdigest()),
    }
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    found = {}
    for name, (data, etag) in blobs.items():
        found[name] = repository / "blobs" / etag
        found[name].write_bytes(data)
        (snapshot / name).symlink_to(f"../../blobs/{etag}")
    import shutil

    shutil.rmtree(root / "made")
    return {**found, "snapshot": snapshot, "repository": repository}


def test_a_whole_hugging_face_cache(verify: Verify, tmp_path: Path) -> None:
    hub_cache(tmp_path)
    verdict = verify(tmp_path)
    assert (verdict.code, len(verdict.of("pass")), verdict.of("unknown", "info")) == (0, 3, [])


def test_a_cache_that_is_named_from_within(
    gpudoctor: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    repository = hub_cache(tmp_path)["repository"]
    assert gpudoctor("verify", ".", cwd=repository).returncode == 0


@pytest.mark.parametrize("name", ["model-00001-of-00001.safetensors", "config.json"])
def test_a_blob_of_the_cache_with_one_other_bit(verify: Verify, tmp_path: Path, name: str) -> None:
    blob = hub_cache(tmp_path)[name]
    flip(blob)
    assert verify(tmp_path).of("fail") == [(BROKEN, f"models--acme--tiny/blobs/{blob.name}")]


def test_a_link_of_the_cache_whose_blob_was_not_copied(verify: Verify, tmp_path: Path) -> None:
    blob = hub_cache(tmp_path)["config.json"]
    blob.unlink()
    verdict = verify(tmp_path)
    assert verdict.of("fail") == [(BROKEN, f"models--acme--tiny/blobs/{blob.name}")]
    assert verdict.message() == "it is missing: config.json names it"


def test_a_reference_to_a_snapshot_that_was_not_copied(verify: Verify, tmp_path: Path) -> None:
    import shutil

    shutil.rmtree(hub_cache(tmp_path)["snapshot"])
    assert verify(tmp_path).of("fail") == [(BROKEN, f"models--acme--tiny/snapshots/{'d' * 40}")]


def test_an_unfinished_download_in_the_cache(verify: Verify, tmp_path: Path) -> None:
    (hub_cache(tmp_path)["repository"] / "blobs" / f"{'e' * 64}.incomplete").write_bytes(b"x")
    assert verify(tmp_path).of("warn") == [(BROKEN, f"models--acme--tiny/blobs/{'e' * 64}.incomplete")]


def test_a_cache_whose_links_became_files_is_not_called_whole(verify: Verify, tmp_path: Path) -> None:
    """A copy to a stick without links: nothing says any more what the files should be."""
    cache = hub_cache(tmp_path)
    import shutil

    for link in list(cache["snapshot"].iterdir()):
        data = link.read_bytes()
        link.unlink()
        link.write_bytes(data)
    shutil.rmtree(cache["repository"] / "blobs")
    assert verify(tmp_path).code == 3
