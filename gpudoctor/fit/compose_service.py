"""A Compose service as a question: engine and version from its image, flags from its command and environment."""

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.settings import Settings, tokens

MAXIMUM_BYTES = 4 * 2**20

_IMAGES = (
    ("vllm/vllm-openai", "vllm"), ("ollama/ollama", "ollama"), ("lmsysorg/sglang", "sglang"),
    ("text-generation-inference", "tgi"), ("ggml-org/llama.cpp", "llama.cpp"), ("ggerganov/llama.cpp", "llama.cpp"),
    ("ktransformers", "ktransformers"),
)  # fmt: skip
# Flags of the engines and the setting each one is; the same flag means the same everywhere.
_FLAGS = {
    "--model": "model", "--model-path": "model", "--model-id": "model", "-m": "model", "-hf": "model",
    "--max-model-len": "context", "--context-length": "context", "--max-total-tokens": "context", "-c": "context",
    "--ctx-size": "context", "--tensor-parallel-size": "tensor_parallel", "-tp": "tensor_parallel",
    "--tp": "tensor_parallel", "--tp-size": "tensor_parallel", "--num-shard": "tensor_parallel",
    "--pipeline-parallel-size": "pipeline_parallel", "-pp": "pipeline_parallel", "--pp-size": "pipeline_parallel",
    "--gpu-memory-utilization": "gpu_memory_utilization", "--mem-fraction-static": "gpu_memory_utilization",
    "--cuda-memory-fraction": "gpu_memory_utilization", "--max-num-seqs": "max_num_seqs",
    "--max-num-batched-tokens": "max_num_batched_tokens", "--max-batch-prefill-tokens": "max_num_batched_tokens",
    "--kv-cache-dtype": "kv_cache_type", "--cache-type-k": "kv_cache_type", "-ctk": "kv_cache_type", "--dtype": "dtype",
    "--parallel": "parallel", "-np": "parallel", "--n-gpu-layers": "gpu_layers", "-ngl": "gpu_layers",
    "--ubatch-size": "ubatch", "-ub": "ubatch", "--batch-size": "batch", "-b": "batch",
    "--flash-attn": "flash_attention", "-fa": "flash_attention",
}  # fmt: skip
_SWITCHES = {"--enforce-eager": "enforce_eager", "--cpu-moe": "cpu_moe"}
_VARIABLES = {
    "OLLAMA_CONTEXT_LENGTH": "context", "OLLAMA_NUM_PARALLEL": "parallel", "OLLAMA_KV_CACHE_TYPE": "kv_cache_type",
    "OLLAMA_FLASH_ATTENTION": "flash_attention", "MODEL_ID": "model", "NUM_SHARD": "tensor_parallel",
}  # fmt: skip
_COUNTS = frozenset({"tensor_parallel", "pipeline_parallel", "max_num_seqs", "max_num_batched_tokens", "parallel",
                     "gpu_layers", "ubatch", "batch"})  # fmt: skip


class Service(NamedTuple):
    """What a service asks for. `gpus` is None when it names none, `model` when only its users do (Ollama)."""

    name: str
    model: str | None
    settings: Settings
    gpus: tuple[int, ...] | None


def read_service(text: str) -> Service:
    """Read ``FILE`` or ``FILE:SERVICE``. Raises Unusable when the file, the service or a value cannot be read."""
    name, wanted = (text, None) if Path(text).exists() else _apart(text)
    content = _load(Path(name))
    services = content.get("services") if isinstance(content, dict) else None
    if not isinstance(services, dict) or not services:
        raise Unusable(f"{name} has no services", where="--from-compose")
    known = {str(key): value for key, value in services.items() if isinstance(value, dict)}
    able = [key for key, value in known.items() if _engine(str(value.get("image") or ""), [])]
    if wanted is None and len(able) != 1:
        raise Unusable(
            f"{name} has {len(able)} services with a known engine", where="--from-compose",
            hint=f"name one: {name}:SERVICE of {', '.join(able or known)[:200]}",
        )  # fmt: skip
    chosen = wanted or able[0]
    if chosen not in known:
        raise Unusable(f"{name} has no service {chosen[:60]!r}", where="--from-compose", hint=", ".join(known)[:200])
    return _service(chosen, known[chosen])


def _apart(text: str) -> tuple[str, str | None]:
    name, colon, service = text.rpartition(":")
    return (name, service) if colon else (text, None)


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror or error}", where="--from-compose") from None
    if len(data) > MAXIMUM_BYTES:
        raise Unusable(f"{path} is too large for a Compose file", where="--from-compose")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        pass
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(data)
    except (YAMLError, ValueError, RecursionError) as error:
        raise Unusable(f"{path} is no YAML: {str(error).splitlines()[0][:120]}", where="--from-compose") from None


def _service(name: str, service: dict[str, Any]) -> Service:
    words = [*_words(service.get("entrypoint")), *_words(service.get("command"))]
    image = str(service.get("image") or "")
    engine = _engine(image, words)
    if engine is None:
        raise Unusable(f"service {name} runs no engine that fit knows", where="--from-compose", hint=image[:100])
    values = _flags(words, engine)
    variables = _environment(service.get("environment"))
    for variable, setting in _VARIABLES.items():
        if variable in variables:
            values.setdefault(setting, variables[variable])
    model = values.pop("model", None)
    settings = Settings(engine=engine, version=_version(image))
    for setting, value in values.items():
        change: dict[str, Any] = {setting: _value(setting, value, name)}
        settings = settings._replace(**change)
    if engine == "llama.cpp" and settings.context and settings.parallel:
        settings = settings._replace(context=settings.context // settings.parallel)
    return Service(name, model, settings, _gpus(service, variables))


def _words(command: object) -> list[str]:
    if isinstance(command, str):
        try:
            return shlex.split(command)
        except ValueError:
            return command.split()
    return [str(word) for word in command] if isinstance(command, list) else []


def _engine(image: str, words: list[str]) -> str | None:
    for part, engine in _IMAGES:
        if part in image:
            return engine
    text = " ".join(words)
    for part, engine in (("vllm", "vllm"), ("sglang", "sglang"), ("llama-server", "llama.cpp"), ("ollama", "ollama")):
        if part in text or part in image:
            return engine
    return None


def _version(image: str) -> str | None:
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2].removeprefix("v")
    return tag if tag[:1].isdigit() else None


def _flags(words: list[str], engine: str) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = iter([part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])])
    previous = ""
    for word in rest:
        if word in _SWITCHES:
            found[_SWITCHES[word]] = "true"
        elif word in _FLAGS:
            found[_FLAGS[word]] = next(rest, "")
        elif engine == "vllm" and previous == "serve" and not word.startswith("-"):
            found["model"] = word
        previous = word
    return found


def _environment(environment: object) -> dict[str, str]:
    if isinstance(environment, dict):
        return {str(key): str(value) for key, value in environment.items()}
    pairs = [str(line).partition("=") for line in environment] if isinstance(environment, list) else []
    return {key: value for key, _, value in pairs}


def _value(setting: str, value: str, service: str) -> object:
    try:
        if setting == "context":
            return tokens(value)
        if setting in _COUNTS:
            return int(value)
        if setting == "gpu_memory_utilization":
            return float(value)
    except ValueError:
        raise Unusable(f"{value[:40]!r} is no {setting}", where=f"service {service}") from None
    if setting in ("flash_attention", "enforce_eager", "cpu_moe"):
        return value.lower() in ("1", "true", "on", "yes")
    return value


def _gpus(service: dict[str, Any], variables: dict[str, str]) -> tuple[int, ...] | None:
    devices: Any = service
    for key in ("deploy", "resources", "reservations", "devices"):
        devices = devices.get(key) if isinstance(devices, dict) else None
    found: list[str] = []
    for device in devices if isinstance(devices, list) else []:
        if isinstance(device, dict) and isinstance(device.get("device_ids"), list):
            found += [str(each) for each in device["device_ids"]]
    if not found:
        text = variables.get("NVIDIA_VISIBLE_DEVICES") or variables.get("CUDA_VISIBLE_DEVICES") or ""
        found = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(int(each) for each in found) if found and all(each.isdigit() for each in found) else None
