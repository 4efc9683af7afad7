"""The SGLang table: count, pins checked by eye, and what it does not know."""

import pytest

from gpudoctor.matrices import sglang


def test_row_count() -> None:
    assert len(sglang.releases()) == 24


@pytest.mark.parametrize(
    ("version", "torch", "cuda", "driver", "capability"),
    [
        ("0.3.6", None, None, None, None),
        ("0.4.6.post5", "2.6.0", "12.4", "525.60.13", (7, 5)),
        ("0.5.2", "2.8.0", "12.8", "525.60.13", (7, 5)),
        ("0.5.8", "2.9.1", "12.8", "525.60.13", (7, 5)),
        ("0.5.10", "2.9.1", "12.8", "525.60.13", None),
        ("0.5.11", "2.11.0", "13.0", "580.65.06", (7, 5)),
        ("0.5.23", "2.14.1", "13.0", "580.65.06", (7, 5)),
    ],
)
def test_pins_read_by_eye(
    version: str, torch: str | None, cuda: str | None, driver: str | None, capability: tuple[int, int] | None
) -> None:
    row = sglang.release(version)
    assert row is not None
    assert (row.torch, row.cuda, row.min_driver, row.min_compute_capability) == (torch, cuda, driver, capability)


@pytest.mark.parametrize("version", ["0.5.14", "0.6.0", "", "latest"])
def test_unknown_releases(version: str) -> None:
    assert sglang.release(version) is None


@pytest.mark.parametrize(
    ("architecture", "version", "answer"),
    [
        ("GptOssForCausalLM", "0.4.9", False),
        ("GptOssForCausalLM", "0.4.10", False),
        ("GptOssForCausalLM", "0.4.10.post2", None),
        ("GptOssForCausalLM", "0.5.1", True),
        ("Qwen3NextForCausalLM", "0.5.1", False),
        ("Qwen3NextForCausalLM", "0.5.5", True),
        ("LlamaForCausalLM", "0.4.0", None),
        ("LlamaForCausalLM", "0.5.2", True),
        ("LlamaForCausalLM", "0.5.23", None),
        ("NobodyForCausalLM", "0.5.2", None),
        ("LlamaForCausalLM", "latest", None),
    ],
)
def test_models_by_release(architecture: str, version: str, answer: bool | None) -> None:
    assert sglang.knows_model(architecture, version) is answer
