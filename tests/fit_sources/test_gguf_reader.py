from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources import load, requantized
from gpudoctor.fit.sources.gguf import Skipped, read_gguf

from .making import HEAD, HIDDEN, KV_HEADS, LAYERS, WIDTH, WORDS, shapes, write_gguf


def test_our_reader_and_the_package_agree(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    ours, theirs = read_gguf(path), gguf.GGUFReader(str(path))
    assert [t.name for t in ours.tensors] == [t.name for t in theirs.tensors]
    for mine, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert mine.shape == tuple(int(n) for n in other.shape)
        assert mine.type_name == other.tensor_type.name
        assert mine.size == other.n_bytes
        assert ours.data_offset + mine.offset == other.data_offset
    for key in ("llama.block_count", "llama.context_length", "llama.attention.head_count_kv", "general.file_type"):
        assert ours.metadata[key] == theirs.fields[key].parts[-1][0]
    assert ours.text("general.architecture") == "llama"
    assert ours.metadata["tokenizer.ggml.tokens"] == Skipped(WORDS)
    assert ours.length("tokenizer.ggml.scores") == WORDS
    assert ours.metadata["general.flag"] is True
    assert ours.missing_bytes == 0
    assert ours.file_bytes == path.stat().st_size


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf", endianess=gguf.GGUFEndian.BIG)
    assert [t.shape for t in read_gguf(path).tensors] == list(shapes().values())


@pytest.mark.parametrize("name", ["F16", "BF16", "Q4_0", "Q5_1", "Q8_0", "MXFP4"])
def test_the_model_of_a_file_has_the_bytes_of_the_file(tmp_path: Path, name: str) -> None:
    kind = gguf.GGMLQuantizationType[name]
    path = write_gguf(tmp_path / "a.gguf", kind)
    model = load(str(path))
    theirs = gguf.GGUFReader(str(path))
    assert model.weights_bytes == sum(t.n_bytes for t in theirs.tensors)
    assert model.embedding_type == name
    assert model.file_bytes == path.stat().st_size


def test_the_model_of_a_file_has_its_shape(tmp_path: Path) -> None:
    model = load(str(write_gguf(tmp_path / "a.gguf")))
    assert (model.source, model.form, model.architecture, model.local) == ("gguf", "gguf", "llama", True)
    assert (len(model.layers), model.hidden_size, model.intermediate_size) == (LAYERS, HIDDEN, WIDTH)
    assert (model.heads, model.kv_heads, model.head_dim) == (4, KV_HEADS, HEAD)
    assert (model.vocabulary, model.context_maximum, model.quantization) == (WORDS, 4096, "Q8_0")
    cache = model.layers[0].cache
    assert (cache.kind, cache.key_values, cache.value_values) == ("full", KV_HEADS * HEAD, KV_HEADS * HEAD)
    weights = model.layers[0].weights
    assert weights.mlp == 3 * HIDDEN * WIDTH * 34 // 32
    assert weights.query == 2 * HIDDEN * HIDDEN * 34 // 32
    assert weights.key_value == 2 * HIDDEN * KV_HEADS * HEAD * 34 // 32
    assert weights.replicated == 2 * HIDDEN * 4
    assert len(set(model.layers)) == 1


def test_a_file_can_be_judged_at_another_quantization(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    model = load(str(path))
    again = requantized(model, "F16")
    assert again is not None
    assert (
        again.weights_bytes == load(str(write_gguf(tmp_path / "b.gguf", gguf.GGMLQuantizationType.F16))).weights_bytes
    )
    other = load(str(path), quant="Q4_0")
    assert other.quantization == "Q4_0"
    assert "Q8_0" in other.assumed[0]
    assert not other.local


def test_a_split_set_is_one_model(tmp_path: Path) -> None:
    whole = load(str(write_gguf(tmp_path / "a.gguf")))
    folder = tmp_path / "set"
    folder.mkdir()
    write_gguf(folder / "b.gguf", split_max_tensors=12)
    files = sorted(folder.glob("*.gguf"))
    assert len(files) == 3
    for given in (files[0], files[2], folder):
        model = load(str(given))
        assert model.weights_bytes == whole.weights_bytes
        assert not model.warnings
    files[1].unlink()
    model = load(str(files[0]))
    assert "00002-of-00003.gguf is missing" in model.warnings[0]
    assert model.weights_bytes < whole.weights_bytes


def test_a_short_file_is_a_warning(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    whole = load(str(path))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    model = load(str(path))
    assert "bytes early" in model.warnings[0]
    assert model.weights_bytes == whole.weights_bytes


def test_a_projector_beside_a_model_belongs_to_it(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf")
    writer = gguf.GGUFWriter(str(tmp_path / "mmproj-a.gguf"), "clip")
    import numpy as np

    writer.add_tensor("v.patch_embd.weight", np.zeros((64, 64), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = load(str(tmp_path))
    assert model.encoder_bytes == 64 * 64 * 2
    assert model.encoders[0].separate_file
    with pytest.raises(Unusable, match="projector"):
        load(str(tmp_path / "mmproj-a.gguf"))


def test_several_quantizations_in_a_folder_need_a_choice(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m-Q8_0.gguf")
    write_gguf(tmp_path / "m-F16.gguf", gguf.GGMLQuantizationType.F16)
    with pytest.raises(Unusable, match="several GGUF files"):
        load(str(tmp_path))
    assert load(str(tmp_path), quant="Q8_0").files[0].endswith("m-Q8_0.gguf")


def test_only_the_header_of_a_huge_file_is_read(tmp_path: Path) -> None:
    """A file of true size whose data was never written: reading any of it would show in the bytes read."""
    path = tmp_path / "big.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_head_count(64)
    writer.add_embedding_length(8192)
    writer.add_token_list([f"word{i}".encode() for i in range(150_000)])
    for i in range(400):
        writer.add_tensor_info(f"blk.0.t{i}.weight", (8192, 8192), __import__("numpy").float16, 8192 * 8192 * 2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    end = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(end + 64 + 400 * 8192 * 8192 * 2)
    import tracemalloc

    tracemalloc.start()
    header = read_gguf(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert header.file_bytes > 50 << 30
    assert len(header.tensors) == 400
    assert peak < 8 << 20


def test_a_type_nobody_knows_is_measured(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    data = bytearray(path.read_bytes())
    whole = load(str(path))
    for name in (b"blk.0.attn_q.weight", b"output.weight"):
        at = data.rindex(name) + len(name) + 4 + 16
        assert data[at] == gguf.GGMLQuantizationType.Q8_0
        data[at] = 144
    path.write_bytes(bytes(data))
    model = load(str(path))
    assert model.weights_bytes == whole.weights_bytes
    assert model.output_type == "unknown"
