"""Services beside language models: recognised by image, sized by source or not at all."""

import pytest

from gpudoctor.matrices import service_kinds


def test_every_row_names_a_kind_and_a_source_the_table_has() -> None:
    table = service_kinds.table()
    names = {row.name for row in table.kinds}
    assert {row.kind for row in table.sizes} <= names
    for source in (*(row.source for row in table.kinds), *(row.source for row in table.sizes)):
        assert table.source(source).url.startswith("https://")


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("onerahmet/openai-whisper-asr-webservice:latest-gpu", "whisper"),
        ("ghcr.io/speaches-ai/speaches:latest-cuda", "faster-whisper"),
        ("fedirz/faster-whisper-server:latest-cuda", "faster-whisper"),
        ("localhost:5000/yanwk/comfyui-boot:cu124-slim", "comfyui"),
        ("ghcr.io/huggingface/text-embeddings-inference:1.7", "embedding"),
        ("vllm/vllm-openai:v0.11.0", None),
        ("nginx:comfyui", None),
    ],
)
def test_kind_of_image(image: str, kind: str | None) -> None:
    found = service_kinds.kind_of_image(image)
    assert (found.name if found else None) == kind


def test_a_size_by_alias_and_none_without_a_source() -> None:
    found = service_kinds.size("faster-whisper", "Systran/faster-whisper-large-v3")
    assert found is not None
    assert found.memory_mib == 4521
    assert service_kinds.size("faster-whisper", "medium") is None
