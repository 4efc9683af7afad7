"""Figures that engines printed on other people's machines, against the formulas. Sources stand beside them."""

import math

import pytest

from gpudoctor.fit import sources
from gpudoctor.fit.engines import llama_buffers as buffers
from gpudoctor.fit.engines import ollama, vllm
from gpudoctor.fit.engines.ollama_graph import guess
from gpudoctor.fit.engines.vllm_pages import group_layers, needed_bytes
from gpudoctor.fit.hardware import Hardware, named
from gpudoctor.fit.limits import predict
from gpudoctor.fit.model import Model
from gpudoctor.fit.prediction import Prediction
from gpudoctor.fit.question import Question
from gpudoctor.fit.settings import Settings

MIB, GIB = 2**20, 2**30


def asked(name: str, hardware: str, free: str | None = None, form: str = "safetensors", **flags: object) -> Prediction:
    gpus, _ = named(hardware, free)
    quant = flags.pop("quant", None)
    model = sources.load(name, form=form, quant=quant)  # type: ignore[arg-type]
    return predict(Question(model, Settings(**flags), Hardware(gpus)))  # type: ignore[arg-type]


def gguf(name: str, quant: str | None = None) -> Model:
    return sources.load(name, form="gguf", quant=quant)


# llama.cpp prints its buffers in MiB; the logs are of Llama 3 8B (May 2024), Qwen3-235B and Qwen3-32B.
@pytest.mark.parametrize(
    ("name", "context", "ubatch", "build", "printed_mib"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 512, 512, 2900, 258.5),
        ("Qwen/Qwen3-235B-A22B", 32768, 512, None, 312.75),
        ("Qwen/Qwen3-32B", 8192, 1024, None, 633.5),
    ],
)
def test_compute_buffer(name: str, context: int, ubatch: int, build: int | None, printed_mib: float) -> None:
    found = buffers.compute_bytes(
        gguf(name, "Q4_K_M"), context, ubatch, flash=build is None, holds_output=True, copies=False, build=build
    )
    assert found == printed_mib * MIB


def test_compute_buffer_of_two_gpus_keeps_four_copies_of_the_inputs() -> None:
    found = buffers.compute_bytes(
        gguf("meta-llama/Llama-3.1-70B-Instruct", "Q4_K_M"), 8192, 512, flash=False, holds_output=False, copies=True,
        build=3000,
    )  # fmt: skip
    assert found == 1216 * MIB


# gpt-oss:120b, two slots of 131072 tokens, micro-batch 1024 (ollama/ollama#16480): 9216 and 90 MiB.
def test_windowed_cache_beside_the_full_one() -> None:
    model = gguf("gpt-oss:120b")
    cache = buffers.cache_bytes(model, 131072, 2, 2.0, unified=False, ubatch=1024, build=None)
    windowed = [size for layer, size in zip(model.layers, cache, strict=True) if layer.cache.window]
    full = [size for layer, size in zip(model.layers, cache, strict=True) if not layer.cache.window]
    assert sum(full) == 9216 * MIB
    assert sum(windowed) == 90 * MIB


def test_latent_cache_by_build() -> None:
    model = gguf("deepseek-ai/DeepSeek-R1", "Q4_K_M")
    sizes = [
        sum(buffers.cache_bytes(model, 4096, 1, 2.0, unified=True, ubatch=512, build=build))
        for build in (5000, 6000, None)
    ]
    # All heads expanded, then the latent with an unused V half, then the latent alone.
    assert sizes == [4096 * 61 * 128 * (192 + 128) * 2, 4096 * 61 * (576 + 512) * 2, 4096 * 61 * 576 * 2]


# ollama/ollama#11982: 0.11.5, gpt-oss:120b at 75000 tokens: graph 13.7 GiB, split 4, 4 and 9 layers.
def test_ollama_plans_what_its_log_says() -> None:
    guessed = guess(gguf("gpt-oss:120b"), 75000, 1, 512, "f16", flash=True, version=(0, 11, 5))
    assert round(guessed.partial / GIB, 1) == 13.7
    assert round(sum(guessed.cache) / GIB, 1) == 2.7
    answer = asked(
        "gpt-oss:120b", "2x RTX 3090 + Tesla V100-SXM2-32GB", "23.1GiB,23.1GiB,31.4GiB", form="gguf", engine="ollama",
        version="0.11.5", context=75000, parallel=1, flash_attention=True,
    )  # fmt: skip
    assert answer.verdict == "partial"
    assert [need.layers and need.layers[1] - need.layers[0] + 1 for need in answer.gpus] == [4, 4, 9]


# What Ollama printed before loading: graph for a full and for a partial load, in MiB, and layers of each GPU.
@pytest.mark.parametrize(
    ("name", "quant", "version", "context", "hardware", "free", "graphs", "layers"),
    [
        # ollama/ollama#9245, #5913, #8447, #9181
        ("qwen2.5:14b", None, "0.5.11", 2048, "RTX 4080", "15.4GiB", (307.0, 916.1), [49]),
        ("qwen2.5:72b", "Q4_K_S", "0.2.8", 2048, "RX 7900 XTX", "23.9GiB", (313.0, 1287.5), [43]),
        ("deepseek-r1:671b", None, "0.5.5", 2048, "RTX 4090", "23.3GiB", (654.0, 1019.5), [5]),
        ("llama3.3:70b", "Q8_0", "0.5.7", 64000, "4x RTX 3090", "22.0GiB", (8189.0, 8443.0), [11, 11, 11, 11]),
    ],
)
def test_ollama_estimates_as_printed(
    name: str,
    quant: str | None,
    version: str,
    context: int,
    hardware: str,
    free: str,
    graphs: tuple[float, float],
    layers: list[int],
) -> None:
    numbers = tuple(int(part) for part in version.split("."))
    guessed = guess(gguf(name, quant), context, 1, 512, "f16", flash=False, version=numbers)
    assert (round(guessed.full / MIB, 1), round(guessed.partial / MIB, 1)) == graphs
    answer = asked(
        name, hardware, free, form="gguf", engine="ollama", version=version, quant=quant, context=context, parallel=1,
        flash_attention=False,
    )  # fmt: skip
    assert [need.layers and need.layers[1] - need.layers[0] + 1 for need in answer.gpus] == layers


# Graphs of Ollama's own engine as its logs print them (public logs of 0.12), in MiB.
@pytest.mark.parametrize(
    ("name", "context", "printed"),
    [("qwen3:30b-a3b", 32768, 190.5), ("gemma3:1b", 4096, 80.0), ("gpt-oss:20b", 8192, 122)],
)
def test_graph_of_ollamas_own_engine(name: str, context: int, printed: float) -> None:
    settings = Settings(engine="ollama", context=context, parallel=1, batch=512, flash_attention=True)
    assert math.isclose(ollama.engine_graph(gguf(name), settings) / MIB, printed, rel_tol=0.05)


# ollama/ollama#14909: with an 8-bit cache these were the longest contexts, in steps of 1024, without layers on the CPU.
@pytest.mark.parametrize(("quant", "context"), [("Q4_K_M", 46080), ("Q5_K_M", 37888)])
def test_the_longest_context_that_a_user_found(quant: str, context: int) -> None:
    for tokens, verdict in ((context, "fits"), (context + 3072, "partial")):
        answer = asked(
            "LGAI-EXAONE/EXAONE-4.0-32B-GGUF", "RTX 3060 + RTX 3090", form="gguf", engine="ollama", version="0.18.0",
            quant=quant, context=tokens, parallel=1, kv_cache_type="q8_0", flash_attention=True,
        )  # fmt: skip
        assert answer.verdict == verdict


@pytest.mark.parametrize(
    ("version", "gib", "context"),
    [("0.6.6", 24, 2048), ("0.6.7", 24, 4096), ("0.15.4", 96, 4096), ("0.15.5", 96, 131072), ("0.15.5", 24, 32768),
     ("0.15.5", 16, 4096)],
)  # fmt: skip
def test_ollama_default_context_by_version_and_memory(version: str, gib: int, context: int) -> None:
    gpu = named("RTX 4090")[0][0]._replace(total_bytes=gib * GIB, usable_bytes=gib * GIB, free_bytes=gib * GIB)
    settings = Settings(engine="ollama", version=version)
    filled, assumed = ollama.prepare(gguf("llama3.1:8b"), settings, Hardware((gpu,)))
    assert filled.context == context
    assert any("context" in line for line in assumed)


def test_ollama_ignores_a_quantized_cache_without_flash_attention() -> None:
    settings = Settings(engine="ollama", version="0.11.3", kv_cache_type="q8_0")
    filled, assumed = ollama.prepare(gguf("gpt-oss:20b"), settings, Hardware(named("RTX 5090")[0]))
    assert filled.kv_cache_type == "f16"
    assert any("ignores q8_0" in line for line in assumed)


# vLLM 0.11.0, gpt-oss: "4.54 GiB KV cache is needed" and 3.10 (vllm-project/vllm#27508 and a public log).
def test_vllm_pages_of_windowed_layers() -> None:
    model = sources.load("openai/gpt-oss-120b", form="safetensors")
    groups = group_layers(model, model.layers, 1, 2.0, latent=True, hybrid=True)
    assert round(needed_bytes(groups, 131072, 1024) / GIB, 2) == 4.54
    model = sources.load("openai/gpt-oss-20b", form="safetensors")
    groups = group_layers(model, model.layers, 1, 2.0, latent=True, hybrid=True)
    assert round(needed_bytes(groups, 131072, 2 * 2048) / GIB, 2) == 3.1


# llm-d-incubation/llm-d-planner, docs/empirical-vllm-memory-results.md, H100, vLLM 0.11.0, in GiB.
@pytest.mark.parametrize(
    ("name", "ranks", "weights", "activation", "room"),
    [
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", 2, 33.88, 4.84, 32.0),
        ("Qwen/Qwen3-32B", 2, 30.59, 5.64, 34.49),
        ("Qwen/Qwen3-32B", 1, 61.03, 5.64, None),
    ],
)
def test_vllm_divides_the_share(name: str, ranks: int, weights: float, activation: float, room: float | None) -> None:
    answer = asked(
        name, f"{ranks}x H100 80GB", engine="vllm", version="0.11.0", context=16000, tensor_parallel=ranks,
        gpu_memory_utilization=0.9, max_num_batched_tokens=8192,
    )  # fmt: skip
    need = answer.gpus[0]
    assert math.isclose((need.weights or 0) / GIB, weights, rel_tol=0.005)
    assert math.isclose((need.compute or 0) / GIB, activation, rel_tol=0.01)
    if room is not None:
        assert math.isclose((need.kv_cache or 0) / GIB, room, rel_tol=0.01)
    assert answer.verdict == "fits"


def test_vllm_reserves_by_gpu_memory_and_name() -> None:
    def sequences(hardware: str, version: str = "0.11.0") -> tuple[int | None, int | None]:
        model = sources.load("Qwen/Qwen3-8B", form="safetensors")
        settings = Settings(engine="vllm", version=version)
        filled, _ = vllm.prepare(model, settings, Hardware(named(hardware)[0]))
        return filled.max_num_seqs, filled.max_num_batched_tokens

    assert sequences("H100 80GB") == (1024, 8192)
    assert sequences("A100 80GB") == (256, 2048)
    assert sequences("RTX 4090") == (256, 2048)
    assert sequences("B200", "0.33.0") == (1024, 16384)


def test_mxfp4_experts_are_padded_by_the_kernel_of_the_gpu() -> None:
    model = sources.load("openai/gpt-oss-120b", form="safetensors")
    settings = Settings(engine="vllm", version="0.11.0", tensor_parallel=1)
    loaded = {
        name: vllm.loaded_weights(model, Hardware(named(name)[0]), settings, (0, 11))[0] / GIB
        for name in ("H100 80GB", "A100 80GB")
    }
    assert math.isclose(loaded["H100 80GB"], 64.38, rel_tol=0.003)
    assert math.isclose(loaded["A100 80GB"], 65.97, rel_tol=0.003)


# QwenLM/Qwen3 docs, speed benchmarks with transformers: memory in GiB without the CUDA context.
@pytest.mark.parametrize(
    ("name", "quant", "prompt", "printed"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", None, 1, 14.38),
        ("Qwen/Qwen2.5-7B-Instruct", None, 6144, 15.38),
        ("Qwen/Qwen2.5-7B-Instruct", "GPTQ-Int8", 30720, 14.01),
        ("Qwen/Qwen2.5-32B-Instruct", None, 30720, 74.47),
    ],
)
def test_transformers_peak(name: str, quant: str | None, prompt: int, printed: float) -> None:
    answer = asked(
        name, "A100 80GB", engine="transformers", version="4.46.0", quant=quant, context=prompt + 2048, dtype="bf16",
        prompt_tokens=prompt,
    )  # fmt: skip
    need = answer.gpus[0]
    assert math.isclose(((need.total or 0) - (need.overhead or 0)) / GIB, printed, rel_tol=0.015)


@pytest.mark.parametrize(
    ("name", "hardware", "printed"),
    [("gpt-oss:120b", "2x Quadro RTX 8000", 64.7), ("gpt-oss:20b", "Quadro RTX 8000", 92.3)],
)
def test_decode_speed(name: str, hardware: str, printed: float) -> None:
    from gpudoctor.fit.speed import expected

    gpus = Hardware(named(hardware)[0])
    model = gguf(name)
    answer = predict(Question(model, Settings(engine="ollama", version="0.11.10"), gpus))
    speed = expected(model, answer, gpus, "ollama")
    assert speed is not None
    assert math.isclose(speed.decode_tokens_per_s, printed, rel_tol=0.05)


def test_fit_leaves_as_few_experts_on_the_cpu_as_it_must() -> None:
    answer = asked("gpt-oss:120b", "RTX 4090", form="gguf", engine="llama.cpp", context=8192)
    assert answer.verdict == "partial"
    assert 20 < answer.settings.cpu_moe_layers < 30
    gpu = named("RTX 4090")[0][0]
    assert 0 <= gpu.free_bytes - (answer.gpus[0].total or 0) - GIB < 2 * GIB


# Qwen's benchmark of transformers 4.51.3 on an H20: tied models in FP8 hold their output matrix beside the embedding.
@pytest.mark.parametrize(
    ("name", "prompt", "printed_mib"),
    [("Qwen/Qwen3-0.6B", 1, 1217), ("Qwen/Qwen3-1.7B", 30720, 6151), ("Qwen/Qwen3-4B", 1, 5281)],
)
def test_fp8_of_a_tied_model_in_transformers(name: str, prompt: int, printed_mib: int) -> None:
    found = asked(
        name, "H20", quant="FP8", engine="transformers", version="4.51.3", context=prompt + 2048, prompt_tokens=prompt
    )
    kept = (found.gpus[0].weights or 0) + (found.gpus[0].kv_cache or 0)
    assert kept == pytest.approx(printed_mib * MIB, rel=0.03)


# vLLM 0.5.4 on an A100 with 40 GB and 0.3 on an RTX 3090 (QwenLM/Qwen3#16): "# GPU blocks" x 16.
@pytest.mark.parametrize(
    ("name", "gpu", "version", "context", "tokens"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "A100 40GB", "0.5.4", 512, 158_880),
        ("kaitchup/Meta-Llama-3.1-8B-Instruct-gptq-4bit", "A100 40GB", "0.5.4", 512, 237_728),
        ("Qwen/Qwen1.5-7B-Chat-GPTQ-Int4", "RTX 3090", "0.3.0", 32768, 24_320),
    ],
)
def test_blocks_of_the_first_engine(name: str, gpu: str, version: str, context: int, tokens: int) -> None:
    found = asked(name, gpu, engine="vllm", dtype="f16", version=version, context=context)
    assert found.kv_tokens == pytest.approx(tokens, rel=0.05)


# The same benchmark's peak for one token: AutoAWQ loads the output matrix of a tied model before it ties it.
@pytest.mark.parametrize(
    ("name", "printed_gib"),
    [("Qwen/Qwen2.5-0.5B-Instruct", 0.68), ("Qwen/Qwen2.5-1.5B-Instruct", 1.51), ("Qwen/Qwen2.5-3B-Instruct", 2.50)],
)
def test_awq_of_a_tied_model_peaks_at_load(name: str, printed_gib: float) -> None:
    found = asked(
        name, "A100 80GB", quant="AWQ", engine="transformers", version="4.46.0", context=2049, prompt_tokens=1
    )
    used = found.gpus[0]
    peak = (used.weights or 0) + (used.kv_cache or 0) + (used.compute or 0)
    assert peak == pytest.approx(printed_gib * GIB, rel=0.02)


# SGLang 0.5 on a B200 and a B300: the static share leaves the same 25 GiB on both.
@pytest.mark.parametrize(("gpu", "tokens"), [("B200", 992_896), ("B300", 1_707_904)])
def test_sglang_reserves_for_prefill_and_graphs(gpu: str, tokens: int) -> None:
    found = asked("Qwen/Qwen3-8B", gpu, engine="sglang", version="0.5.10")
    assert found.kv_tokens == pytest.approx(tokens, rel=0.04)


def test_sglang_before_that_has_a_fixed_share() -> None:
    assert asked("Qwen/Qwen3-8B", "B200", engine="sglang", version="0.4.5").settings.gpu_memory_utilization == 0.88


# Qwen2.5-32B in 16 bit at 1.0 of one A100, 32,768 tokens (vLLM 0.6.3, Qwen's benchmark, its "setting 1").
@pytest.mark.parametrize(("version", "verdict"), [("0.6.3", "fits"), ("0.12", "does-not-fit")])
def test_the_check_at_start_came_with_the_second_engine(version: str, verdict: str) -> None:
    found = asked(
        "Qwen/Qwen2.5-32B-Instruct", "A100 80GB", engine="vllm", version=version, context=32768, dtype="bf16",
        gpu_memory_utilization=1.0, enforce_eager=True,
    )  # fmt: skip
    assert found.verdict == verdict


def test_memory_that_others_hold_counts_before_that_check_too() -> None:
    found = asked("Qwen/Qwen2.5-7B-Instruct", "A100 80GB", free="40GiB", engine="vllm", version="0.6.3", context=8192)
    assert found.verdict == "does-not-fit"


# Ollama keeps copies of a hybrid's recurrent state: qwen3-coder-next (0.20) 1.1 + 1.5, 0.93 + 1.3 and 0.85 + 1.2 GiB,
# qwen3.6:35b (0.2x) 2.2 GiB of "kv cache", all at 32,768 tokens.
@pytest.mark.parametrize(
    ("tag", "kind", "printed_gib"),
    [
        ("qwen3-coder-next", "f16", 2.6),
        ("qwen3-coder-next", "q8_0", 2.23),
        ("qwen3-coder-next", "q4_0", 2.05),
        ("qwen3.6", "f16", 2.2),
    ],
)
def test_copies_of_the_recurrent_state(tag: str, kind: str, printed_gib: float) -> None:
    settings = Settings(context=32768, parallel=1, batch=1024, kv_cache_type=kind, flash_attention=True)
    assert sum(ollama.real_cache(gguf(tag), settings, (0, 20), own=True)) == pytest.approx(printed_gib * GIB, rel=0.025)


def test_graph_of_the_delta_rule() -> None:
    settings = Settings(context=32768, parallel=1, batch=1024, flash_attention=True)
    assert ollama.engine_graph(gguf("qwen3-coder-next"), settings) == pytest.approx(884.1 * MIB, rel=0.02)


def test_the_llama_server_keeps_no_copies_on_the_gpu() -> None:
    old = asked("qwen3.6:27b", "RTX 5090", form="gguf", engine="ollama", version="0.24", context=32768)
    new = asked("qwen3.6:27b", "RTX 5090", form="gguf", engine="ollama", version="0.30.2", context=32768)
    assert (old.gpus[0].kv_cache or 0) - (new.gpus[0].kv_cache or 0) == pytest.approx(3.5 * GIB, rel=0.03)


# vLLM 0.30 on a DGX Spark: 29.1 GiB of weights at 0.55 of memory that is also the host's.
def test_memory_shared_with_the_host_has_a_size() -> None:
    found = asked(
        "Qwen/Qwen3-30B-A3B-Thinking-2507-FP8", "DGX Spark", engine="vllm", version="0.30", context=32768,
        gpu_memory_utilization=0.55,
    )  # fmt: skip
    assert found.verdict == "fits"
    assert (found.gpus[0].weights or 0) == pytest.approx(29.1 * GIB, rel=0.01)
