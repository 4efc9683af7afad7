from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources import load, requantized
from gpudoctor.fit.sources.safetensors import read_safetensors

from .making import CONFIG, HIDDEN, LAYERS, WORDS, hub_tensors, write_folder

TOTAL = sum(2 * int(np.prod(shape)) for shape in hub_tensors().values())


def test_our_reader_and_the_package_agree(tmp_path: Path) -> None:
    path = write_folder(tmp_path) / "model.safetensors"
    ours = {entry.name: (entry.type_name, entry.shape) for entry in read_safetensors(path).tensors}
    with safe_open(str(path), framework="numpy") as theirs:
        names = list(theirs.keys())
        assert ours == {
            name: (theirs.get_slice(name).get_dtype(), tuple(theirs.get_slice(name).get_shape())) for name in names
        }


@pytest.mark.parametrize("shards", [1, 3])
def test_a_folder_has_the_bytes_of_its_files(tmp_path: Path, shards: int) -> None:
    model = load(str(write_folder(tmp_path, shards)))
    assert model.weights_bytes == TOTAL
    assert (model.source, model.form, model.local) == ("safetensors", "safetensors", True)
    assert not model.warnings
    assert model.layers == load(str(tmp_path / "config.json")).layers
    assert model.file_bytes == sum(f.stat().st_size for f in tmp_path.glob("*.safetensors"))


def test_every_part_agrees_with_the_arithmetic(tmp_path: Path) -> None:
    """Names of real tensors and the rules of the architecture lead to the same sums."""
    write_folder(tmp_path, 2)
    from_files = load(str(tmp_path))
    for file in tmp_path.glob("*.safetensors*"):
        file.unlink()
    computed = load(str(tmp_path))
    assert computed.source == "config.json"
    assert from_files.layers == computed.layers
    assert from_files.embedding_bytes == computed.embedding_bytes == 2 * HIDDEN * WORDS
    assert (from_files.output_bytes, from_files.final_bytes) == (computed.output_bytes, computed.final_bytes)


def test_copies_are_not_counted_twice(tmp_path: Path) -> None:
    write_folder(tmp_path, 2)
    for folder in ("original", "metal"):
        write_folder(tmp_path / folder)
    save_file({"x": np.zeros((999, 999), dtype=np.float32)}, str(tmp_path / "consolidated.safetensors"))
    assert load(str(tmp_path)).weights_bytes == TOTAL
    (tmp_path / "model.safetensors.index.json").unlink()
    assert load(str(tmp_path)).weights_bytes == TOTAL


@pytest.mark.parametrize("index", [True, False])
def test_a_missing_shard_is_a_warning(tmp_path: Path, index: bool) -> None:
    write_folder(tmp_path, 3, index=index)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    model = load(str(tmp_path))
    assert "model-00002-of-00003.safetensors is missing" in model.warnings
    assert model.weights_bytes == TOTAL
    assert not model.local


def test_a_short_shard_is_a_warning(tmp_path: Path) -> None:
    write_folder(tmp_path, 3)
    shard = tmp_path / "model-00003-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    model = load(str(tmp_path))
    assert "100 bytes early" in model.warnings[0]
    assert model.weights_bytes == TOTAL


def test_an_empty_map_still_gives_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": TOTAL}, "weight_map": {}}))
    model = load(str(tmp_path))
    assert model.weights_bytes == TOTAL
    assert not model.unknown
    assert not model.warnings
    index.write_text(json.dumps({"metadata": {"total_size": TOTAL + 5000}, "weight_map": {}}))
    odd = load(str(tmp_path))
    assert odd.weights_bytes == TOTAL + 5000
    assert "5000" in odd.unknown[0]


def test_an_index_cannot_lead_outside(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {"a": "../../etc/passwd"}})
    )
    with pytest.raises(Unusable, match="outside its folder"):
        load(str(tmp_path))


def test_another_quantization_of_a_folder_is_computed(tmp_path: Path) -> None:
    write_folder(tmp_path)
    model = load(str(tmp_path))
    for quant in ("FP8", "AWQ", "GPTQ-Int4", "NF4", "W8A8"):
        again = load(str(tmp_path), quant=quant)
        assert again.weights_bytes < model.weights_bytes
        assert again.quantization == quant
        other = requantized(model, quant)
        assert other is not None
        assert other.weights_bytes == again.weights_bytes
    assert load(str(tmp_path), quant="Q4_K_M").form == "gguf"
    assert load(str(tmp_path), form="gguf").quantization == "BF16"
    assert load(str(tmp_path), dtype="f32").weights_bytes == 2 * TOTAL


def test_a_tied_matrix_stored_twice_is_loaded_once(tmp_path: Path) -> None:
    model = load(str(write_folder(tmp_path, config={**CONFIG, "tie_word_embeddings": True})))
    assert model.output_bytes == 0
    assert model.weights_bytes == TOTAL - 2 * HIDDEN * WORDS


def test_an_unknown_architecture_has_real_bytes_and_says_what_it_lacks(tmp_path: Path) -> None:
    model = load(str(write_folder(tmp_path, 2, config={**CONFIG, "model_type": "marvin"})))
    assert model.weights_bytes == TOTAL
    assert model.architecture == "marvin"
    assert model.parameters == TOTAL // 2
    assert model.layers[0].cache.key_values == 2 * 64
    assert any("marvin" in sentence for sentence in model.unknown)
    assert requantized(model, "FP8") is None
    with pytest.raises(Unusable, match="not known"):
        load(str(tmp_path), quant="FP8")


def test_an_unknown_architecture_with_an_index_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "model_type": "marvin"}))
    with pytest.raises(Unusable, match="'marvin' is not known"):
        load(str(tmp_path))
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 123457}, "weight_map": {}})
    )
    model = load(str(tmp_path))
    assert model.weights_bytes == 123457
    assert len(model.layers) == LAYERS
    assert len(model.unknown) == 2


QUANTIZED: list[tuple[dict[str, Any], str]] = [
    ({"quant_method": "awq", "bits": 4}, "AWQ"),
    ({"quant_method": "gptq", "bits": 4}, "GPTQ-Int4"),
    ({"quant_method": "gptq", "bits": 8}, "GPTQ-Int8"),
    ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "FP8"),
    ({"quant_method": "mxfp4"}, "MXFP4"),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "NF4"),
    ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "INT8"),
    (
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}},
        },
        "W4A16",
    ),
    (
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
        },
        "FP8",
    ),
    ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "NVFP4"),
]


@pytest.mark.parametrize(("section", "quant"), QUANTIZED)
def test_the_declared_quantization_is_the_default(tmp_path: Path, section: dict[str, Any], quant: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "quantization_config": section}))
    assert load(str(tmp_path)).quantization == quant


def test_an_unknown_quantization_needs_its_files(tmp_path: Path) -> None:
    config = {**CONFIG, "quantization_config": {"quant_method": "squeeze"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(Unusable, match="'SQUEEZE' is not known"):
        load(str(tmp_path))


def test_an_unknown_quantization_has_the_bytes_of_its_files(tmp_path: Path) -> None:
    config = {**CONFIG, "quantization_config": {"quant_method": "squeeze"}}
    model = load(str(write_folder(tmp_path, config=config)))
    assert (model.quantization, model.weights_bytes) == ("SQUEEZE", TOTAL)


def test_files_of_another_model_are_noticed(tmp_path: Path) -> None:
    model = load(str(write_folder(tmp_path, config={**CONFIG, "intermediate_size": 4096})))
    assert "configuration implies" in model.unknown[0]
    assert model.weights_bytes == TOTAL


def test_a_window_that_llama_cpp_does_not_use(tmp_path: Path) -> None:
    config = {**CONFIG, "model_type": "mistral", "sliding_window": 1024}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load(str(tmp_path), form="safetensors").windowed
    assert not load(str(tmp_path), form="gguf").windowed


def test_a_folder_that_happens_to_have_the_name_of_a_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qwen3").mkdir()
    assert load("qwen3", ollama_models=tmp_path).source == "catalogue"
    (tmp_path / "qwen3" / "config.json").write_text(json.dumps(CONFIG))
    assert load("qwen3", ollama_models=tmp_path).source == "config.json"


def test_a_quantization_declared_inside(tmp_path: Path) -> None:
    config = {"model_type": "gemma3", "text_config": {**CONFIG, "quantization_config": {"quant_method": "awq"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load(str(tmp_path)).quantization == "AWQ"


def test_a_checkpoint_before_safetensors_has_the_bytes_of_its_index(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    names = [f"pytorch_model-{n:05d}-of-00002.bin" for n in (1, 2)]
    (tmp_path / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {"total_size": TOTAL}, "weight_map": {"a": names[0], "b": names[1]}})
    )
    (tmp_path / names[0]).write_bytes(b"\x80\x02}q\x00.")
    model = load(str(tmp_path))
    assert model.weights_bytes == TOTAL
    assert model.warnings == (f"{names[1]} is missing",)


def test_an_adapter_is_no_part_of_the_model(tmp_path: Path) -> None:
    write_folder(tmp_path)
    save_file({"x": np.zeros((999, 999), dtype=np.float32)}, str(tmp_path / "adapter_model.safetensors"))
    assert load(str(tmp_path)).weights_bytes == TOTAL


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("adapter_config.json", "an adapter, not a model"),
        ("model_index.json", "an image or video pipeline"),
        ("params.json", r"only Mistral's own params\.json"),
    ],
)
def test_what_else_a_folder_can_be(tmp_path: Path, file: str, said: str) -> None:
    (tmp_path / file).write_text(json.dumps({"base_model_name_or_path": "Qwen/Qwen3-8B"}))
    with pytest.raises(Unusable, match=said):
        load(str(tmp_path))
