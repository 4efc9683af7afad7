"""The exact lines that start what was judged: a command and a Compose service."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.fit.prediction import Prediction
from gpudoctor.fit.question import Question


class Launch(NamedTuple):
    """A shell command and a Compose service with the same settings."""

    command: str
    compose: str


def launch(question: Question, prediction: Prediction, extra: Sequence[str] = ()) -> Launch:
    """Return the lines for the engine asked, with every setting that the answer depends on; ``extra`` for SGLang."""
    engine = question.settings.engine or "vllm"
    gpus = [gpu.number for gpu, need in zip(question.hardware.gpus, prediction.gpus, strict=True) if need.total]
    if engine == "ollama":
        return _ollama(question, prediction, gpus)
    if engine in ("llama.cpp", "ktransformers"):
        arguments = _llama_cpp(question, prediction) if engine == "llama.cpp" else _ktransformers(question, prediction)
        image = "ghcr.io/ggml-org/llama.cpp:server-cuda" if engine == "llama.cpp" else "approachingai/ktransformers"
        name = "llama-server" if engine == "llama.cpp" else "python -m ktransformers.local_chat"
        return Launch(_visible(gpus) + f"{name} {_joined(arguments)}", _service("llm", image, arguments, gpus))
    if engine == "transformers":
        dtype = question.settings.dtype or "auto"
        code = f"AutoModelForCausalLM.from_pretrained({question.model.name!r}, dtype={dtype!r}, device_map='auto')"
        return Launch(_visible(gpus) + f"python -c {shlex.quote('from transformers import *; ' + code)}", "")
    arguments = _served(question, prediction, engine)
    version = question.settings.version
    if engine == "vllm":
        image = f"vllm/vllm-openai:v{version}" if version else "vllm/vllm-openai"
        return Launch(_visible(gpus) + f"vllm serve {_joined(arguments)}", _service("vllm", image, arguments, gpus))
    if engine == "sglang":
        line = ["--model-path", *arguments, *extra]
        image = f"lmsysorg/sglang:v{version}" if version else "lmsysorg/sglang"
        command = _visible(gpus) + f"python -m sglang.launch_server {_joined(line)}"
        return Launch(command, _service("sglang", image, ["python", "-m", "sglang.launch_server", *line], gpus))
    line = ["--model-id", *arguments]
    image = "ghcr.io/huggingface/text-generation-inference:3.3.7"
    return Launch(f"text-generation-launcher {_joined(line)}", _service("tgi", image, line, gpus))


def _ollama(question: Question, prediction: Prediction, gpus: list[int]) -> Launch:
    settings = prediction.settings
    environment = {"OLLAMA_CONTEXT_LENGTH": str(settings.context)}
    if (settings.parallel or 1) > 1 or question.settings.parallel:
        environment["OLLAMA_NUM_PARALLEL"] = str(settings.parallel)
    if question.settings.flash_attention is not None:
        environment["OLLAMA_FLASH_ATTENTION"] = "1" if settings.flash_attention else "0"
    if settings.kv_cache_type not in (None, "f16"):
        environment["OLLAMA_KV_CACHE_TYPE"] = settings.kv_cache_type or ""
    words = " ".join(f"{key}={shlex.quote(value)}" for key, value in environment.items())
    version = question.settings.version
    image = f"ollama/ollama:{version}" if version else "ollama/ollama"
    lines = [
        "services:", "  ollama:", f"    image: {image}", "    environment:",
        *[f'      {key}: "{value}"' for key, value in environment.items()],
        "    volumes:", "      - ollama:/root/.ollama", *_reservation(gpus), "volumes:", "  ollama:",
    ]  # fmt: skip
    command = f"{_visible(gpus)}{words} ollama serve  # then: ollama run {shlex.quote(question.model.name)}"
    return Launch(command, "\n".join(lines) + "\n")


def _llama_cpp(question: Question, prediction: Prediction) -> list[str]:
    settings = prediction.settings
    parallel = settings.parallel or 1
    file = question.model.files[0] if question.model.files else f"{question.model.name.replace('/', '_')}.gguf"
    arguments = ["-m", file, "-c", str((settings.context or 0) * parallel), "-np", str(parallel)]
    layers = prediction.layers_on_gpu
    if settings.cpu_moe_layers:
        arguments += ["-ngl", "999", "--n-cpu-moe", str(settings.cpu_moe_layers)]
    elif settings.gpu_layers is not None or prediction.verdict == "partial":
        arguments += ["-ngl", str(layers)]
    else:
        arguments += ["-ngl", "999"]
    if settings.cpu_moe:
        arguments += ["--cpu-moe"]
    arguments += ["-fa", "on" if settings.flash_attention else "off"]
    if settings.kv_cache_type not in (None, "f16"):
        arguments += ["-ctk", settings.kv_cache_type or "", "-ctv", settings.kv_cache_type or ""]
    if settings.ubatch not in (None, 512):
        arguments += ["-b", str(max(settings.batch or 0, settings.ubatch or 0)), "-ub", str(settings.ubatch)]
    return arguments


def _ktransformers(question: Question, prediction: Prediction) -> list[str]:
    return [
        "--model_path", question.model.name, "--gguf_path", question.model.files[0] if question.model.files else "./",
        "--cache_lens", str(prediction.settings.context), "--cpu_infer", "32",
    ]  # fmt: skip


def _served(question: Question, prediction: Prediction, engine: str) -> list[str]:
    settings, asked = prediction.settings, question.settings
    length = {"vllm": "--max-model-len", "sglang": "--context-length", "tgi": "--max-total-tokens"}[engine]
    arguments = [question.model.name, length, str(settings.context)]
    ranks = settings.tensor_parallel or 1
    if ranks > 1:
        flag = {"vllm": "--tensor-parallel-size", "sglang": "--tp", "tgi": "--num-shard"}[engine]
        arguments += [flag, str(ranks)]
    if engine != "tgi" and (settings.pipeline_parallel or 1) > 1:
        flag = "--pipeline-parallel-size" if engine == "vllm" else "--pp-size"
        arguments += [flag, str(settings.pipeline_parallel)]
    if engine == "vllm":
        arguments += ["--gpu-memory-utilization", f"{settings.gpu_memory_utilization:g}"]
    elif engine == "sglang":
        arguments += ["--mem-fraction-static", f"{settings.gpu_memory_utilization:g}"]
    if settings.kv_cache_type not in (None, "auto") and engine != "tgi":
        arguments += ["--kv-cache-dtype", settings.kv_cache_type or ""]
    if asked.dtype:
        names = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
        arguments += ["--dtype", names.get(asked.dtype, asked.dtype)]
    if engine == "vllm":
        if asked.max_num_seqs:
            arguments += ["--max-num-seqs", str(asked.max_num_seqs)]
        if asked.max_num_batched_tokens:
            arguments += ["--max-num-batched-tokens", str(asked.max_num_batched_tokens)]
        if asked.enforce_eager:
            arguments += ["--enforce-eager"]
    return arguments


def _visible(gpus: list[int]) -> str:
    listed = ",".join(map(str, gpus))
    return f"CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={listed} " if gpus else ""


def _joined(arguments: list[str]) -> str:
    return " ".join(shlex.quote(argument) for argument in arguments)


def _reservation(gpus: list[int]) -> list[str]:
    identifiers = ", ".join(f'"{gpu}"' for gpu in gpus)
    return [
        "    deploy:", "      resources:", "        reservations:", "          devices:",
        "            - driver: nvidia",
        f"              device_ids: [{identifiers}]", "              capabilities: [gpu]",
    ]  # fmt: skip


def _service(name: str, image: str, arguments: list[str], gpus: list[int]) -> str:
    words = ", ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in arguments)
    lines = ["services:", f"  {name}:", f"    image: {image}", f"    command: [{words}]", "    ipc: host"]
    return "\n".join([*lines, *_reservation(gpus)]) + "\n"
