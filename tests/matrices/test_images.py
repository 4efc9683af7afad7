"""Image references taken apart."""

import pytest

from gpudoctor.matrices import images


def test_every_row_names_a_source_the_table_has() -> None:
    table = images.table()
    for key in {row.source for row in table.images}:
        assert table.source(key).url.startswith("https://")


@pytest.mark.parametrize(
    ("reference", "engine"),
    [
        ("ollama/ollama:latest", "ollama"),
        ("ollama/ollama", "ollama"),
        ("index.docker.io/vllm/vllm-openai:nightly", "vllm"),
        ("localhost:5000/ollama", None),
        ("nginx", None),
    ],
)
def test_engine_whatever_the_tag(reference: str, engine: str | None) -> None:
    assert images.engine_of(reference) == engine


def test_version_and_cuda() -> None:
    assert images.contents("lmsysorg/sglang:v0.5.2-cu126") == ("sglang", "0.5.2", "12.6", False)
    assert images.contents("vllm/vllm-openai:v0.10.1.1") == ("vllm", "0.10.1.1", None, True)
