"""What an engine was started with, from its command or from the line in which its log repeats that.

Sample input:

    vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 --max-model-len 32768
    INFO 09-03 16:28:23 [core.py:75] Initializing a V1 LLM engine (v0.10.2) with config: model='Qwen/Qwen3-32B', ...
    server_args=ServerArgs(model_path='Qwen/Qwen3-32B', ..., tp_size=2, mem_fraction_static=0.85, ...)

Only names and figures are taken; of a folder its last two names.
"""

import re
import shlex

from gpudoctor.judging.engine_flags import read_flags

MAX_LINE_CHARS = 16_384
_WORDS = ("vllm", "engine", "args", "serve", "model", "ollama")
_CONFIG = re.compile(r"Initializing an? (?:V[01] )?LLM engine \(v(?P<version>\d[\w.+]{1,40})\) with config: ")
_ARGUMENTS = re.compile(r"non-default args: |args: Namespace\(")
_SGLANG = re.compile(r"server_args=ServerArgs\(")
_COMMAND = re.compile(
    r"(?P<vllm>\bvllm serve\s|-m vllm\.entrypoints\S{0,40}\s|\bvllm/vllm-openai\S{0,60}\s)"
    r"|(?P<sglang>-m sglang\.launch_server\s)|(?P<tgi>\btext-generation-launcher\s)"
)
_OLLAMA = re.compile(r"\bollama run ([\w.\-/:]{2,120})")
_VALUE = r"['\"]?{name}['\"]?\s?[=:]\s?(?:['\"](?P<quoted>[^'\"]{{1,300}})['\"]|(?P<plain>[\w.+\-/]{{1,60}}))"
#: What a log calls it -> our name, of which `read_flags` has the same.
_FIELDS = {
    "model": "model", "model_path": "model", "model_tag": "model", "tensor_parallel_size": "tensor_parallel",
    "tp_size": "tensor_parallel", "pipeline_parallel_size": "pipeline_parallel", "max_seq_len": "context",
    "max_model_len": "context", "context_length": "context", "gpu_memory_utilization": "gpu_memory_utilization",
    "mem_fraction_static": "gpu_memory_utilization", "kv_cache_dtype": "kv_cache_type", "max_num_seqs": "max_num_seqs",
    "enforce_eager": "enforce_eager",
}  # fmt: skip
_PATTERNS = {field: re.compile(r"(?<![\w])" + _VALUE.format(name=field)) for field in _FIELDS}
_NOTHING = ("none", "auto", "false")
_SNAPSHOT = re.compile(r"models--([\w.\-]+?)--([\w.\-]+)")


def started(line: str) -> dict[str, str]:
    """Return what a line tells of a start, by our names; nothing for any other line."""
    if not any(word in line for word in _WORDS):
        return {}
    line = line[:MAX_LINE_CHARS]
    config, arguments, sglang = _CONFIG.search(line), _ARGUMENTS.search(line), _SGLANG.search(line)
    told: dict[str, str] = {}
    if config is not None or arguments is not None or sglang is not None:
        head = config or arguments or sglang
        told = _fields(line[head.end() :] if head is not None else line)
        told["engine"] = "sglang" if sglang is not None else "vllm"
        if config is not None:
            told["version"] = config["version"]
    elif (command := _COMMAND.search(line)) is not None:
        told = _command(line[command.end() :], command["vllm"] is not None)
        told["engine"] = str(command.lastgroup)
    elif (run := _OLLAMA.search(line)) is not None:
        told = {"engine": "ollama", "model": run[1]}
    if "model" in told:
        told["model"] = model_name(told["model"])
    return told if "model" in told else {}


def model_name(text: str) -> str:
    """Return a name that a catalogue may have: of a cache folder its repository, of another its last two names."""
    cached = _SNAPSHOT.search(text)
    if cached is not None:
        return f"{cached[1]}/{cached[2]}"
    return "/".join(part for part in text.split("/") if part not in ("", "."))[-200:] if not text.startswith("/") \
        else "/".join([part for part in text.split("/") if part][-2:])  # fmt: skip


def _fields(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for field, name in _FIELDS.items():
        value = _PATTERNS[field].search(text)
        if value is not None and (told := value["quoted"] or value["plain"]) and told.lower() not in _NOTHING:
            found.setdefault(name, told)
    return found


def _command(text: str, vllm: bool) -> dict[str, str]:
    try:
        words = shlex.split(text.replace("\\", " "), comments=True)[:400]
    except ValueError:
        words = text.split()[:400]
    found = dict(read_flags(words))
    for flag in ("--model", "--model-path", "--model-id"):
        for number, word in enumerate(words):
            name, equals, value = word.partition("=")
            if name == flag:
                found.setdefault("model", value if equals else (words[number + 1] if number + 1 < len(words) else ""))
    if vllm and words and not words[0].startswith("-"):
        found.setdefault("model", words[0])
    return {name: value for name, value in found.items() if value}
