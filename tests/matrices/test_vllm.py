"""The vLLM table: counts, releases checked by eye, floors of methods by version, and what it does not know."""

import pytest

from gpudoctor.matrices import vllm


def test_row_counts() -> None:
    table = vllm.table()
    assert len(table.releases) == 92
    assert len(table.quantization) == 23


def test_every_row_names_a_source_the_table_has() -> None:
    table = vllm.table()
    used = {row.source for row in table.releases} | {row.source for row in table.quantization}
    used |= {row.source for row in table.features} | {row.source for row in table.models} | {table.rocm.source}
    for key in used:
        assert table.source(key).url.startswith("https://")


@pytest.mark.parametrize(
    ("version", "torch", "cuda", "driver", "capability", "image"),
    [
        ("0.2.0", ">=2.0.0", "12.1", "525.60.13", (7, 0), None),
        ("0.6.6", "2.5.1", "12.1", "525.60.13", (7, 0), "12.4.1"),
        ("0.8.5.post1", "2.6.0", "12.4", "525.60.13", (7, 0), "12.4.1"),
        ("0.10.2", "2.8.0", "12.8", "525.60.13", (7, 0), "12.8.1"),
        ("0.19.1", "2.10.0", "12.9", "525.60.13", (7, 0), "12.9.1"),
        ("0.20.0", "2.11.0", "13.0", "580.65.06", (7, 5), "13.0.2"),
        ("0.33.0", "2.14.0", "13.0", "580.65.06", (7, 5), "13.0.3"),
    ],
)
def test_releases_read_by_eye(
    version: str, torch: str, cuda: str, driver: str, capability: tuple[int, int], image: str | None
) -> None:
    row = vllm.release(version)
    assert row is not None
    assert (row.torch, row.cuda, row.min_driver) == (torch, cuda, driver)
    assert (row.min_compute_capability, row.image_cuda) == (capability, image)


def test_architectures_are_written_as_cuda_names_them() -> None:
    row = vllm.release("0.9.0")
    assert row is not None
    assert row.arch_list == ("sm_70", "sm_75", "sm_80", "sm_89", "sm_90", "sm_100", "compute_100")


def test_other_builds_of_a_release() -> None:
    assert vllm.release("v0.20.0+cu129") == vllm.release("0.20.0")
    row = vllm.release("0.20.0")
    assert row is not None
    assert row.alternate_cuda == ("12.9",)


@pytest.mark.parametrize("version", ["", "latest", "0.34.0", "0.1.0", "0.33.0rc1"])
def test_unknown_releases(version: str) -> None:
    assert vllm.release(version) is None
    assert vllm.quantization("awq", version) is None
    assert vllm.feature("bfloat16", version) is None


@pytest.mark.parametrize(
    ("method", "version", "capability"),
    [
        ("fp8", "0.5.0", (8, 9)),
        ("fp8", "0.6.6", (8, 0)),
        ("fp8", "0.33.0", (7, 5)),
        ("fp8-w8a8", "0.33.0", (8, 9)),
        ("awq", "0.2.7", (7, 5)),
        ("awq", "0.33.0", (7, 5)),
        ("awq_marlin", "0.8.0", (8, 0)),
        ("awq_marlin", "0.19.1", (7, 5)),
        ("gptq", "0.33.0", (6, 0)),
        ("gptq_marlin", "0.14.1", (7, 5)),
        ("mxfp4", "0.10.1.1", (8, 0)),
        ("mxfp4", "0.33.0", (8, 0)),
        ("bitsandbytes", "0.19.1", (7, 0)),
        ("nvfp4", "0.10.2", (8, 0)),
    ],
)
def test_quantization_floors(method: str, version: str, capability: tuple[int, int]) -> None:
    run = vllm.quantization(method, version)
    assert run is not None
    assert run.min_capability == capability


def test_methods_that_came_and_went() -> None:
    early, late = vllm.quantization("mxfp4", "0.10.0"), vllm.quantization("gguf", "0.24.0")
    assert early is not None
    assert early.absent
    assert late is not None
    assert late.absent
    assert late.plugin == "vllm-gguf-plugin"
    assert vllm.quantization("q4_k_m", "0.33.0") is None
    emulated = vllm.quantization("nvfp4", "0.9.2")
    assert emulated is not None
    assert emulated.native_from == (10, 0)


@pytest.mark.parametrize(
    ("name", "version", "capability", "runs"),
    [
        ("bfloat16", "0.33.0", (7, 5), False),
        ("bfloat16", "0.33.0", (8, 0), True),
        ("flash-attention-3", "0.33.0", (9, 0), True),
        ("flash-attention-3", "0.33.0", (10, 0), False),
        ("flashinfer", "0.32.0", (7, 5), True),
        ("flashinfer", "0.33.0", (7, 5), False),
        ("triton-attention", "0.33.0", (7, 0), True),
        ("v1-engine", "0.10.1.1", (7, 5), False),
        ("v1-engine", "0.10.2", (7, 5), True),
        ("attention-sinks", "0.10.1", (7, 5), False),
        ("attention-sinks", "0.12.0", (7, 5), True),
        ("FLASHMLA", "0.33.0", (12, 0), False),
    ],
)
def test_features(name: str, version: str, capability: tuple[int, int], runs: bool) -> None:
    row = vllm.feature(name, version)
    assert row is not None
    assert row.runs_on(capability) is runs


def test_dense_mla_on_ampere_is_triton_alone() -> None:
    rows = vllm.features("0.33.0", "mla")
    assert [row.name for row in rows if row.runs_on((8, 0))] == ["TRITON_MLA"]


@pytest.mark.parametrize(
    ("architecture", "version", "answer"),
    [
        ("GptOssForCausalLM", "0.6.6", False),
        ("GptOssForCausalLM", "0.10.0", False),
        ("GptOssForCausalLM", "0.10.1", True),
        ("LlamaForCausalLM", "0.2.0", True),
        ("MixtralForCausalLM", "0.2.3", False),
        ("Qwen3MoeForCausalLM", "0.8.3", False),
        ("Qwen3MoeForCausalLM", "0.8.4", True),
        ("Gemma3ForConditionalGeneration", "0.7.3", False),
        ("Gemma3ForConditionalGeneration", "0.8.0", True),
        ("DeepseekV3ForCausalLM", "0.6.6", True),
        ("Exaone4ForCausalLM", "0.10.0", True),
        ("Qwen3NextForCausalLM", "0.10.1", False),
        ("Qwen3NextForCausalLM", "0.10.1.1", None),
        ("Qwen3NextForCausalLM", "0.10.2", True),
        ("MllamaForConditionalGeneration", "0.10.2", True),
        ("MllamaForConditionalGeneration", "0.11.0", False),
        ("GptOssForCausalLM", "0.99.0", None),
        ("NobodyForCausalLM", "0.33.0", None),
    ],
)
def test_models_by_release(architecture: str, version: str, answer: bool | None) -> None:
    assert vllm.knows_model(architecture, version) is answer


def test_since_when_a_model_runs() -> None:
    row = vllm.model("GptOssForCausalLM")
    assert row is not None
    assert (row.since, row.last_without) == ("0.10.1", None)
    assert vllm.model("NobodyForCausalLM") is None
    assert sum(len(group.architectures) for group in vllm.table().models) == 483
