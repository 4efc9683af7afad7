"""Choosing checks opens no way to a false green."""

import pytest

from gpudoctor.checking.plugins import load_checks
from gpudoctor.checking.selection import UnknownId, select
from gpudoctor.checking.target import parse_engine

CHECKS = load_checks().checks


def ids(**how: list[str]) -> set[str]:
    return {c.id for c in select(CHECKS, **how).chosen}


def test_by_id_glob_and_area() -> None:
    assert "gpu.row-remap-pending" in ids(only=["gpu.row-remap-pending"])
    assert {"gpu.row-remap-pending"} <= ids(only=["gpu.row-*"])
    assert {i for i in ids(only=["pci"]) if i.startswith("pci.")} == {"pci.no-gpu"}


def test_gatekeepers_of_what_was_asked_come_along() -> None:
    selection = select(CHECKS, only=["gpu.row-remap-pending"])
    assert {"pci.no-gpu", "driver.not-loaded", "driver.nvml-unusable"} <= set(selection.added)


def test_skip_leaves_out_and_says_so() -> None:
    selection = select(CHECKS, skip=["gpu"])
    assert not any(c.id.startswith("gpu.") for c in selection.chosen)
    assert any(c.id == "gpu.row-remap-pending" for c in selection.left_out)


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(UnknownId) as caught:
        select(CHECKS, only=["pci.no-gpus"])
    assert "pci.no-gpu" in caught.value.near


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("vllm==0.33.0", "vllm", "0.33.0"),
        ("Ollama", "ollama", None),
        ("vllm/vllm-openai:v0.21.0", "vllm", "0.21.0"),
        ("ollama/ollama", "ollama", None),
        ("ollama/ollama:latest", "ollama", None),
        ("ghcr.io/huggingface/text-generation-inference:3.3.7", "tgi", "3.3.7"),
        ("localhost:5000/team/vllm-openai", "vllm", None),
        ("lmsysorg/sglang:v0.5.11-cu130", "sglang", "0.5.11-cu130"),
    ],
)
def test_for_understands_engines_versions_and_images(text: str, name: str, version: str | None) -> None:
    wish = parse_engine(text)
    assert (wish.name, wish.version) == (name, version)


@pytest.mark.parametrize("text", ["", "vllm==", "vllm==latest", "==1", "a b", "vllm=0.33"])
def test_for_refuses_what_it_does_not_understand(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        parse_engine(text)
