from __future__ import annotations

import sys
from typing import Any

import pytest

from gpudoctor.fit.sources import catalogue, load
from gpudoctor.fit.sources.config import blueprint_of
from gpudoctor.fit.sources.quantization import quantizable
from gpudoctor.fit.sources.tensors import Blueprint

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROWS = [catalogue.row(number) for number in range(len(catalogue.index().tables))]


def fp8_scales(blueprint: Blueprint, blocks: bool) -> int:
    """How many scales: one for each square block, or one each for a matrix and its inputs."""
    tensors = [t for block in blueprint.blocks for t in block.tensors] + list(blueprint.draft)
    found = 0
    for tensor in tensors:
        if quantizable(tensor) and not tensor.role.startswith("nextn."):
            inputs, outputs = tensor.shape[:2]
            each = -(-inputs // 128) * -(-outputs // 128) if blocks else 2
            found += tensor.elements // (inputs * outputs) * each
    return found


def counted(row: catalogue.Row) -> int:
    blueprint = blueprint_of(row.config)
    assert blueprint is not None
    extra = {
        "draft": sum(t.elements for t in blueprint.draft),
        "shared": -sum(
            t.elements for t in blueprint.draft if t.role in ("nextn.embed_tokens", "nextn.shared_head_head")
        ),
        "output": sum(t.elements for t in blueprint.embedding),
        "scales": fp8_scales(blueprint, "weight_block_size" in row.config.get("quantization_config", {})),
    }
    return blueprint.parameters + sum(extra[what] for what in row.counts)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_recomputes_to_the_last_digit_or_says_why(row: catalogue.Row) -> None:
    assert row.source
    assert row.retrieved.startswith("20")
    if counted(row) != row.parameters:
        assert len(row.note) > 20, (counted(row), row.parameters)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_sixteen_bit_weights_are_two_bytes_a_parameter(row: catalogue.Row) -> None:
    blueprint = blueprint_of({k: v for k, v in row.config.items() if k != "quantization_config"})
    assert blueprint is not None
    model = load(row.name, quant="BF16", form="safetensors", hub_cache="/nonexistent")
    assert model.weights_bytes == 2 * blueprint.parameters
    assert model.parameters == blueprint.parameters


def test_there_are_enough_rows_and_most_are_exact() -> None:
    exact = sum(counted(row) == row.parameters for row in ROWS)
    assert len(ROWS) >= 60
    assert exact >= 145


def test_the_quick_index_finds_what_a_toml_parser_finds() -> None:
    table: dict[str, Any] = tomllib.loads(catalogue.PATH.read_text(encoding="utf-8"))
    rows = table["model"]
    assert [row["name"] for row in rows] == [row.name for row in ROWS]
    names = catalogue.index().names
    for number, row in enumerate(rows):
        assert row["config"] == ROWS[number].config
        for name in (row["name"], *row.get("names", ()), *row.get("tags", ())):
            assert names[name.lower()] == number


def test_no_two_rows_share_a_name() -> None:
    shown = catalogue.index().shown
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_tag_and_name_loads(row: catalogue.Row) -> None:
    for tag in row.tags:
        model = load(tag, ollama_models="/nonexistent")
        assert model.form == "gguf"
        assert model.quantization == row.quantization
        assert not model.assumed
    model = load(row.name, hub_cache="/nonexistent")
    assert model.form == "safetensors"
    assert len(model.layers) > 0
    assert model.weights_bytes > 0
    assert model.active_parameters is not None
    assert model.parameters is not None
    assert 0 < model.active_parameters <= model.parameters
