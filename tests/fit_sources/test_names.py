from __future__ import annotations

import pytest

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources import load
from gpudoctor.fit.sources.names import parse
from gpudoctor.fit.sources.quantization import canonical, near_dynamic

SAME = [
    ("meta-llama/Meta-Llama-3.1-8B-Instruct", "BF16"),
    ("META-LLAMA/llama-3.1-8b-instruct", "BF16"),
    ("unsloth/Llama-3.1-8B-Instruct", "BF16"),
    ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "NF4"),
    ("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "FP8"),
    ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "W4A16"),
    ("neuralmagic/Meta-Llama-3.1-8B-Instruct-quantized.w8a8", "W8A8"),
    ("hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4", "GPTQ-Int4"),
    ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", "AWQ"),
    ("nvidia/Llama-3.1-8B-Instruct-NVFP4", "NVFP4"),
    ("https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct", "BF16"),
    ("llama3.1:8b", "Q4_K_M"),
    ("llama3.1", "Q4_K_M"),
    ("Llama3.1:8B-instruct-q5_K_M", "Q5_K_M"),
    ("llama3.1:8b-instruct-fp16", "F16"),
    ("library/llama3.1:8b-text-q8_0", "Q8_0"),
    ("ollama.com/library/llama3.1:8b", "Q4_K_M"),
    ("bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:IQ3_XS", "IQ3_XS"),
    ("hf.co/unsloth/Llama-3.1-8B-Instruct-GGUF:Q6_K", "Q6_K"),
    ("mradermacher/Llama-3.1-8B-Instruct-i1-GGUF:IQ4_XS", "IQ4_XS"),
    ("bartowski/meta-llama_Llama-3.1-8B-Instruct-GGUF:Q4_K_M", "Q4_K_M"),
    ("cyankiwi/Llama-3.1-8B-Instruct-AWQ-8bit", "W8A8"),
    ("kaitchup/Meta-Llama-3.1-8B-Instruct-autoround-gptq-4bit-asym", "GPTQ-Int4"),
    ("nvidia/Llama-3.1-8B-Instruct-NVFP4-v2", "NVFP4"),
    ("deepseek-r1:8b-llama-distill-q8_0", "Q8_0"),
]


@pytest.mark.parametrize(("name", "quant"), SAME)
def test_renames_and_reuploads_are_the_same_model(name: str, quant: str) -> None:
    model = load(name, ollama_models="/nonexistent", hub_cache="/nonexistent")
    assert model.parameters == 8030261248
    assert model.quantization == quant


@pytest.mark.parametrize(
    ("tag", "same"),
    [
        ("mistral-small3.1:24b-instruct-2503-q8_0", "mistral-small3.1:24b"),
        ("deepseek-r1:32b-qwen-distill-q4_K_M", "deepseek-r1:32b"),
        ("phi4-reasoning:plus", "phi4:14b"),
        ("magistral", "devstral:24b"),
    ],
)
def test_a_tag_with_a_date_or_a_training_is_the_same_shape(tag: str, same: str) -> None:
    assert load(tag).parameters == load(same).parameters


def test_what_another_publisher_repacked_is_said_to_be_known_by_name_only() -> None:
    repacked = load("cyankiwi/Qwen3-30B-A3B-Instruct-2507-AWQ-4bit")
    assert repacked.repacked
    assert "only the name was read" in repacked.assumed[0]
    for own in ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M", "unsloth/gpt-oss-20b"):
        assert not load(own).repacked


def test_a_word_before_an_underscore_is_no_owner_unless_it_is_one() -> None:
    with pytest.raises(Unusable):
        load("somebody/abliterated_Llama-3.1-8B-Instruct")


def test_the_eight_billion_of_one_name_are_two_models() -> None:
    assert load("deepseek-r1:8b-llama-distill").architecture == "llama"
    assert load("deepseek-r1:8b").architecture == "qwen3"


def test_a_dynamic_quantization_is_said_to_be_approximate() -> None:
    model = load("unsloth/Qwen3-8B-GGUF:UD-Q4_K_XL")
    assert model.quantization == "Q4_K_M"
    assert "UD-Q4_K_XL" in model.assumed[0]


@pytest.mark.parametrize(
    ("name", "near"), [("qwen3:9b", "qwen3:8b"), ("lama3.1:8b", "llama3.1:8b"), ("Qwen/Qwen3-23B", "qwen/qwen3-32b")]
)
def test_an_unknown_name_brings_the_nearest(name: str, near: str) -> None:
    with pytest.raises(Unusable) as caught:
        load(name)
    assert near in (caught.value.hint or "")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["", "   ", "a" * 5000, "x\x1b[31m", "x\0y", "../../etc/passwd:latest", "a\nb"])
def test_what_is_no_name_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(Unusable) as caught:
        load(name)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "name", ["NousResearch/Hermes-9-Llama-3.1-8B", "someone/my-qwen3-8b-merge", "llama3.1:8b-uncensored"]
)
def test_a_fine_tune_nobody_listed_is_not_guessed(name: str) -> None:
    with pytest.raises(Unusable):
        load(name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("q4_k_m", "Q4_K_M"), ("Q4_K", "Q4_K_M"), ("fp16", "F16"), ("float16", "F16"), ("bfloat16", "BF16"),
        ("awq", "AWQ"), ("gptq", "GPTQ-Int4"), ("GPTQ-Int8", "GPTQ-Int8"), ("fp8", "FP8"), ("nf4", "NF4"),
        ("int8", "INT8"),
        ("w8a8", "W8A8"),
        ("mxfp4", "MXFP4"), ("bnb-4bit", "NF4"), ("iq2_xxs", "IQ2_XXS"), ("Q9_Z", None), ("", None),
    ],
)  # fmt: skip
def test_quantizations_by_any_name(text: str, name: str | None) -> None:
    assert canonical(text) == name


def test_dynamic_names() -> None:
    assert near_dynamic("UD-IQ1_S") == "IQ1_S"
    assert near_dynamic("UD-Q2_K_XL") == "Q2_K"
    assert near_dynamic("Q4_K_M") is None


def test_an_unknown_quantization_brings_the_nearest() -> None:
    with pytest.raises(Unusable, match="no quantization") as caught:
        load("llama3.1:8b", quant="q4_k_n")
    assert "Q4_K_M" in (caught.value.hint or "")


def test_gguf_has_no_fp8() -> None:
    with pytest.raises(Unusable, match="GGUF files have no FP8"):
        load("llama3.1:8b", quant="FP8", form="gguf")


def test_a_name_taken_apart() -> None:
    name = parse("TheBloke/Mixtral-8x7B-Instruct-v0.1-AWQ")
    assert name is not None
    assert (name.base, name.quantization, name.is_tag) == ("thebloke/mixtral-8x7b-instruct-v0.1", "AWQ", False)
    tag = parse("llama3.3:70b-instruct-q4_K_M")
    assert tag is not None
    assert (tag.base, tag.quantization, tag.is_tag) == ("llama3.3:70b-instruct", "Q4_K_M", True)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("deepseek-r1", 8190735360),
        ("deepseek-r1:671b", 671026419200),
        ("deepseek-ai/DeepSeek-R1", 671026419200),
        ("gpt-oss", 20914757184),
        ("llama3", 8030261248),
        ("mistral-small", 23572403200),
        ("qwen3", 8190735360),
    ],
)
def test_a_tag_without_a_size_is_the_latest(name: str, parameters: int) -> None:
    assert load(name, ollama_models="/nonexistent", hub_cache="/nonexistent").parameters == parameters


@pytest.mark.parametrize(
    ("quant", "mix"),
    [
        ("IQ4_KS", "IQ4_XS"),
        ("iq2_k_r4", "IQ2_XS"),
        ("smol-IQ2_KS", "IQ2_XXS"),
        ("UD-Q2_K_XL", "Q2_K"),
        ("Q8_0_R8", "Q8_0"),
    ],
)
def test_a_stand_in_is_said_to_be_one(quant: str, mix: str) -> None:
    model = load("deepseek-ai/DeepSeek-R1", quant=quant, form="gguf")
    assert model.quantization == mix
    assert model.assumed == (f"{quant.upper()} taken as {mix}",)


def test_any_gguf_will_do() -> None:
    model = load("Qwen/Qwen3-8B", quant="GGUF")
    assert (model.form, model.quantization) == ("gguf", "Q4_K_M")
    assert model.assumed == ("quantization Q4_K_M",)
