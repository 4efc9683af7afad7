"""A Compose service as a question: engine and version from its image, flags from its command and environment."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gpudoctor.facts.compose import ComposeProject
from gpudoctor.facts.compose import Service as Facts
from gpudoctor.fit.model import Unusable
from gpudoctor.fit.settings import Settings, tokens

_IMAGES = (
    ("vllm/vllm-openai", "vllm"), ("ollama/ollama", "ollama"), ("lmsysorg/sglang", "sglang"),
    ("text-generation-inference", "tgi"), ("ggml-org/llama.cpp", "llama.cpp"), ("ggerganov/llama.cpp", "llama.cpp"),
    ("ktransformers", "ktransformers"),
)  # fmt: skip
_BESIDE = re.compile(r"exporter|web-?ui|proxy|gateway|router|client|monitor|dashboard|benchmark|litellm")
#: What starts an engine; a name with a dot at its end is the beginning of a module's.
_PROGRAMS = {"vllm": "vllm", "vllm.entrypoints.": "vllm", "sglang.": "sglang", "llama-server": "llama.cpp",
             "ollama": "ollama", "text-generation-launcher": "tgi"}
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
    "LLAMA_ARG_MODEL": "model", "LLAMA_ARG_CTX_SIZE": "context", "LLAMA_ARG_N_PARALLEL": "parallel",
    "LLAMA_ARG_N_GPU_LAYERS": "gpu_layers",
}  # fmt: skip
_COUNTS = frozenset({"tensor_parallel", "pipeline_parallel", "max_num_seqs", "max_num_batched_tokens", "parallel",
                     "gpu_layers", "ubatch", "batch"})  # fmt: skip

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh"})
#: -c, -lc, -ec: the next word is a whole line.
_LINE = re.compile(r"-[a-z]{0,4}c")
_LONGEST_LINE = 1 << 15


class Service(NamedTuple):
    """What a service asks for. `gpus` is None when it names none, `model` when only its users do (Ollama)."""

    name: str
    model: str | None
    settings: Settings
    gpus: tuple[int, ...] | None


def read_service(text: str, environment: Mapping[str, str] | None = None) -> Service:
    """Read ``FILE`` or ``FILE:SERVICE``. Raises Unusable when the file, the service or a value cannot be read."""
    name, wanted = (text, None) if Path(text).exists() else _apart(text)
    known = {service.name: service for service in _project(name, environment or {}).services}
    if not known:
        raise Unusable(f"{name} has no services", where="--from-compose")
    able = [key for key, service in known.items() if engine_of(service.image or "", ())]
    if wanted is None and len(able) != 1:
        raise Unusable(
            f"{name} has {len(able)} services with a known engine", where="--from-compose",
            hint=f"name one: {name}:SERVICE of {', '.join(able or known)[:200]}",
        )  # fmt: skip
    chosen = wanted or able[0]
    if chosen not in known:
        raise Unusable(f"{name} has no service {chosen[:60]!r}", where="--from-compose", hint=", ".join(known)[:200])
    return asked_of(known[chosen])


def _apart(text: str) -> tuple[str, str | None]:
    name, colon, service = text.rpartition(":")
    return (name, service) if colon else (text, None)


def _project(name: str, environment: Mapping[str, str]) -> ComposeProject:
    from gpudoctor.compose.reading import Wishes, read_project
    from gpudoctor.compose.tree import ComposeError

    try:
        # Whoever names a service means it, whatever its profile.
        return read_project([name], Wishes(environment, profiles=("*",)))
    except ComposeError as error:
        raise Unusable(error.message, where=error.where, hint=error.hint or None) from None


def asked_of(service: Facts) -> Service:
    """Return what a service asks of its engine.

    Raises:
        Unusable: It runs no engine that fit knows, or a flag's value is none.
    """
    image = service.image or ""
    engine = engine_of(image, service.command)
    if engine is None:
        raise Unusable(f"service {service.name} runs no engine that fit knows", where="--from-compose",
                       hint=image[:100])
    values = _flags(plain_words(service.command), engine)
    for name, setting in _VARIABLES.items():
        variable = service.variable(name)
        if variable is not None and variable.value:
            values.setdefault(setting, variable.value)
    model = _on_host(service, values.pop("model", None))
    settings = Settings(engine=engine, version=version_of(image))
    for setting, value in values.items():
        change: dict[str, Any] = {setting: _value(setting, value, service.name)}
        settings = settings._replace(**change)
    if engine == "llama.cpp" and settings.context and settings.parallel:
        settings = settings._replace(context=settings.context // settings.parallel)
    return Service(service.name, model, settings, _gpus(service))


def engine_of(image: str, words: Sequence[str]) -> str | None:
    """Return the engine of an image, or of a command, None for one that fit does not know."""
    repository = image.partition("@")[0].lower()
    repository = repository.rpartition(":")[0] if ":" in repository.rpartition("/")[2] else repository
    # A front end, a proxy or an exporter bears the name of the engine that it asks.
    if _BESIDE.search(repository):
        return None
    for part, engine in _IMAGES:
        if part in repository:
            return engine
    last = repository.rpartition("/")[2]
    for part, engine in (("vllm", "vllm"), ("sglang", "sglang"), ("llama-server", "llama.cpp"), ("ollama", "ollama")):
        if part in last:
            return engine
    # `sh -c "vllm serve ..."` has the whole line in one word.
    for word in (part for each in words for part in each.split()[:64]):
        for name, engine in _PROGRAMS.items():
            if word.rpartition("/")[2] == name or (name.endswith(".") and word.startswith(name)):
                return engine
    return None


def version_of(image: str) -> str | None:
    """Return the version in an image's tag, None where it says none (``latest``)."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2].removeprefix("v")
    return tag if tag[:1].isdigit() else None


def plain_words(words: Sequence[str]) -> list[str]:
    """Return a command's words; those of the line that a shell is given (``sh -c "vllm serve ..."``) as they will be.

    A line of several commands gives the words of all.
    """
    if words and words[0].rpartition("/")[2] in _SHELLS:
        for at, word in enumerate(words[1:6], 1):
            if _LINE.fullmatch(word) and at + 1 < len(words):
                return _split(words[at + 1])
    return list(words)


def _split(line: str) -> list[str]:
    line = line[:_LONGEST_LINE].replace("\\\n", " ")
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()


def _flags(words: Sequence[str], engine: str) -> dict[str, str]:
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


def _on_host(service: Facts, model: str | None) -> str | None:
    """Return where a model's path in the container lies on the host, other names as they are."""
    for volume in sorted(service.volumes, key=lambda each: -len(each.target)):
        inside = volume.target.rstrip("/") + "/"
        if model is not None and volume.kind == "bind" and volume.source and f"{model}/".startswith(inside):
            return f"{volume.source}/{model[len(inside):]}".rstrip("/")
    return model


def _gpus(service: Facts) -> tuple[int, ...] | None:
    found = [name for request in service.requests for name in request.device_ids]
    counts = [request.count for request in service.requests if request.count is not None and request.count > 0]
    if not found and counts:
        # The engine hands out the first ones.
        return tuple(range(min(counts[0], 1024)))
    if not found:
        for name in ("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
            variable = service.variable(name)
            if variable is not None and variable.value:
                found = [part.strip() for part in variable.value.split(",") if part.strip()]
                break
    return tuple(int(each) for each in found) if found and all(
        each.isascii() and each.isdigit() and len(each) < 5 for each in found) else None
