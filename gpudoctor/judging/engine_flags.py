"""Flags of an engine's command line that say how it serves. Only those named here are taken: others hold secrets."""

from collections.abc import Sequence

#: Flag as written -> our name for it.
FLAGS = {
    "--port": "port", "--host": "host",
    "--tensor-parallel-size": "tensor_parallel", "-tp": "tensor_parallel", "--tp": "tensor_parallel",
    "--tp-size": "tensor_parallel", "--num-shard": "tensor_parallel",
    "--pipeline-parallel-size": "pipeline_parallel", "-pp": "pipeline_parallel", "--pp-size": "pipeline_parallel",
    "--data-parallel-size": "data_parallel", "-dp": "data_parallel", "--dp-size": "data_parallel",
    "--max-model-len": "context", "--context-length": "context", "--max-total-tokens": "context",
    "--ctx-size": "context", "-c": "context",
    "--gpu-memory-utilization": "gpu_memory_utilization", "--mem-fraction-static": "gpu_memory_utilization",
    "--max-num-seqs": "max_num_seqs", "--max-running-requests": "max_num_seqs",
    "--max-num-batched-tokens": "max_num_batched_tokens",
    "--kv-cache-dtype": "kv_cache_type", "--cache-type-k": "kv_cache_type", "-ctk": "kv_cache_type",
    "--quantization": "quantization", "--dtype": "dtype",
    "--parallel": "parallel", "-np": "parallel",
    "--config": "config", "--nnodes": "nodes", "--distributed-executor-backend": "executor",
    "--data-parallel-size-local": "data_parallel_local",
    "--n-gpu-layers": "gpu_layers", "--gpu-layers": "gpu_layers", "-ngl": "gpu_layers",
}  # fmt: skip
_ALONE = {"--enforce-eager": "enforce_eager"}
#: -c and -tp mean something else to shells and Python.
_SHORT_FOR_LLAMA = frozenset({"-c"})
_LONGEST = 100


def read_flags(arguments: Sequence[str]) -> dict[str, str]:
    """Return the known flags with their values; ``--flag=value`` and ``--flag value`` mean the same."""
    found: dict[str, str] = {}
    llama = any("llama-server" in part for part in arguments[:3])
    for number, argument in enumerate(arguments[:4096]):
        flag, equals, value = argument.partition("=")
        flag = flag.replace("_", "-") if flag.startswith("--") else flag
        if flag in _ALONE:
            found[_ALONE[flag]] = "true"
        if flag not in FLAGS or (flag in _SHORT_FOR_LLAMA and not llama):
            continue
        if not equals:
            value = arguments[number + 1] if number + 1 < len(arguments) else ""
        if value and len(value) <= _LONGEST:
            found[FLAGS[flag]] = value
    return found


def number(settings: dict[str, str], name: str) -> int | None:
    """Return a setting as a positive whole number, None when it is none."""
    text = settings.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 12 and int(text) else None
