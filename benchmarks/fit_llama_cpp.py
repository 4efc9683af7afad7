"""llama.cpp itself as the judge of fit's buffers: shapes x contexts x cache types, without the memory.

Usage: fit_llama_cpp.py [--show]; exits 1 when a buffer that has an exact formula differs in its printed digit.

Needs llama-cpp-python (a CPU build is enough) beside gpudoctor: the cache and the weights take the same bytes on every
backend. Each model is a sparse GGUF file with the real tensor list and no data; llama.cpp is told to allocate nothing
(`no_alloc`), so that 146 GB take a second. Compute buffers are printed, not judged: they differ by backend.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpudoctor.fit.engines import llama_buffers as buffers
from gpudoctor.fit.model import Model
from gpudoctor.fit.sources import catalogue
from gpudoctor.fit.sources.build import build, traits_of
from gpudoctor.fit.sources.config import blueprint_of
from gpudoctor.fit.sources.gguf_mix import tensor_type
from gpudoctor.fit.sources.names import keys, parse
from gpudoctor.fit.sources.tensors import Blueprint, Tensor
from gpudoctor.fit.sources.types import BY_NUMBER, tensor_bytes

MIB = 2**20
TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
ELEMENT = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
NUMBER = {kind.name: number for number, kind in BY_NUMBER.items()}
# (model, mix, context, cache type, flash attention, micro-batch)
CASES = [
    ("meta-llama/Llama-3.1-8B-Instruct", "Q4_K_M", 8192, "f16", True, 512),
    ("meta-llama/Llama-3.1-8B-Instruct", "Q4_K_M", 32768, "q8_0", True, 512),
    ("meta-llama/Llama-3.1-8B-Instruct", "Q8_0", 131072, "q4_0", True, 512),
    ("meta-llama/Llama-3.1-8B-Instruct", "Q4_K_M", 8192, "f16", False, 512),
    ("meta-llama/Llama-3.1-8B-Instruct", "Q4_K_M", 32768, "f16", True, 2048),
    ("meta-llama/Llama-3.3-70B-Instruct", "Q4_K_M", 8192, "f16", True, 512),
    ("meta-llama/Llama-3.3-70B-Instruct", "Q6_K", 131072, "q8_0", True, 512),
    ("Qwen/Qwen2.5-7B-Instruct", "Q4_K_M", 32768, "f16", True, 512),
    ("Qwen/Qwen3-8B", "Q5_K_M", 16384, "q8_0", True, 512),
    ("Qwen/Qwen3-30B-A3B", "Q4_K_M", 32768, "f16", True, 512),
    ("Qwen/Qwen3-235B-A22B", "Q4_K_M", 32768, "f16", True, 512),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", "Q4_K_M", 8192, "f16", True, 512),
    ("google/gemma-2-27b-it", "Q4_K_M", 8192, "f16", False, 512),
    ("google/gemma-3-27b-it", "Q4_K_M", 32768, "f16", True, 512),
    ("google/gemma-3-4b-it", "Q8_0", 8192, "q8_0", True, 512),
    ("openai/gpt-oss-20b", "MXFP4", 8192, "f16", True, 512),
    ("openai/gpt-oss-20b", "MXFP4", 131072, "f16", True, 512),
    ("openai/gpt-oss-120b", "MXFP4", 32768, "f16", True, 512),
    ("openai/gpt-oss-120b", "MXFP4", 131072, "f16", True, 2048),
]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, value: str | int | float) -> bytes:
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", 4, value)
    return text(key) + struct.pack("<If", 6, value)


def metadata(blueprint: Blueprint) -> list[bytes]:
    arch = {"gptoss": "gpt-oss"}.get(blueprint.architecture, blueprint.architecture)
    facts: dict[str, int | float] = {
        "block_count": len(blueprint.blocks), "context_length": blueprint.context_maximum or 4096,
        "embedding_length": blueprint.hidden_size, "feed_forward_length": blueprint.intermediate_size,
        "attention.head_count": blueprint.heads, "attention.head_count_kv": blueprint.kv_heads,
        "attention.key_length": blueprint.head_dim, "attention.value_length": blueprint.value_head_dim,
        "rope.dimension_count": blueprint.head_dim, "vocab_size": blueprint.vocabulary,
        "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 500000.0,
    }  # fmt: skip
    if blueprint.experts:
        facts["expert_count"] = blueprint.experts.total
        facts["expert_used_count"] = blueprint.experts.active
        facts["expert_feed_forward_length"] = blueprint.experts.intermediate
    window = max(block.cache.window for block in blueprint.blocks)
    if window:
        facts["attention.sliding_window"] = window
    return [
        pair("general.architecture", arch), pair("tokenizer.ggml.model", "no_vocab"),
        *[pair(f"{arch}.{key}", value) for key, value in facts.items()],
    ]  # fmt: skip


def tensors(blueprint: Blueprint) -> Iterator[tuple[str, Tensor, int]]:
    gptoss = blueprint.architecture.replace("-", "") == "gptoss"

    def name(prefix: str, tensor: Tensor) -> str:
        # llama.cpp's own converter calls this norm by its place after the attention.
        role = "post_attention_norm" if gptoss and tensor.role == "ffn_norm" else tensor.role
        return prefix + role + ("" if role.endswith(".bias") else ".weight")

    for tensor in (*blueprint.embedding, *blueprint.output, *blueprint.final):
        yield name("", tensor), tensor, 0
    for number, block in enumerate(blueprint.blocks):
        for tensor in block.tensors:
            yield name(f"blk.{number}.", tensor), tensor, number


def write_sparse(path: Path, blueprint: Blueprint, mix: str) -> None:
    traits = traits_of(blueprint, mix)
    listed, offset = [], 0
    for name, tensor, layer in tensors(blueprint):
        kind = tensor_type(mix, tensor, layer, traits)
        shape = tensor.shape
        listed.append(
            text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, NUMBER[kind], offset)
        )
        offset += -(-tensor_bytes(kind, shape) // 32) * 32
    pairs = metadata(blueprint)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(pairs)) + b"".join(pairs) + b"".join(listed)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(-(-len(head) // 32) * 32 + offset)


class Oracle:
    """llama.cpp's own log lines for one model file."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.lines: list[str] = []
        self.keep = library.llama_log_callback(
            lambda level, line, data: self.lines.append(line.decode(errors="replace"))
        )
        library.llama_log_set(self.keep, ctypes.c_void_p(0))
        library.llama_backend_init()

    def load(self, path: Path) -> Any:
        """Load a model without its data."""
        parameters = self.library.llama_model_default_params()
        parameters.n_gpu_layers = 0
        for flag, value in (("use_mmap", False), ("no_alloc", True), ("use_extra_bufts", False), ("load_mode", 0)):
            if any(field[0] == flag for field in parameters._fields_):
                setattr(parameters, flag, value)
        model = self.library.llama_model_load_from_file(str(path).encode(), parameters)
        if not model:
            raise SystemExit("llama.cpp refused the file:\n" + "".join(self.lines[-12:]))
        return model

    def context(self, model: Any, tokens: int, kind: str, flash: bool, ubatch: int) -> str:
        """Make a context and return what was printed about it."""
        self.lines.clear()
        parameters = self.library.llama_context_default_params()
        parameters.n_ctx, parameters.n_batch, parameters.n_ubatch, parameters.n_seq_max = tokens, 2048, ubatch, 1
        parameters.type_k = parameters.type_v = TYPES[kind]
        names = [field[0] for field in parameters._fields_]
        if "flash_attn_type" in names:
            parameters.flash_attn_type = 1 if flash else 0
        else:
            parameters.flash_attn = flash
        if "swa_full" in names:
            parameters.swa_full = False
        made = self.library.llama_init_from_model(model, parameters)
        said = "".join(self.lines)
        if made:
            self.library.llama_free(made)
        return said


def printed(said: str) -> tuple[float, float | None]:
    """The cache and the compute buffer in MiB as printed."""
    caches = re.findall(r"kv_cache\w*: size =\s*([\d.]+) MiB", said)
    compute = re.findall(r"compute buffer size =\s*([\d.]+) MiB", said)
    return sum(map(float, caches)), float(compute[0]) if compute else None


def predicted(model: Model, tokens: int, kind: str, ubatch: int) -> float:
    cache = buffers.cache_bytes(
        model, tokens, 1, ELEMENT[kind], unified=True, ubatch=ubatch, build=None
    )
    return sum(cache) / MIB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print llama.cpp's own lines, too")
    args = parser.parse_args()
    try:
        import llama_cpp  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        print("llama-cpp-python is not here: pip install llama-cpp-python (five minutes of compiling)")
        return 2
    oracle, wrong = Oracle(llama_cpp), 0
    loaded: dict[tuple[str, str], Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, mix, tokens, kind, flash, ubatch in CASES:
            asked = parse(name)
            found = catalogue.find(keys(asked)) if asked else None
            assert found is not None
            blueprint = blueprint_of(found[0].config, name)
            assert blueprint is not None
            model = build(blueprint, name=name, source="catalogue", form="gguf", quantization=mix)
            if (name, mix) not in loaded:
                path = Path(folder) / f"{len(loaded)}.gguf"
                write_sparse(path, blueprint, mix)
                loaded[name, mix] = oracle.load(path)
                size = llama_cpp.llama_model_size(loaded[name, mix])
                ok = size == model.weights_bytes - model.encoder_bytes
                wrong += not ok
                print(f"{name} {mix}: {size} B of tensors, predicted {model.weights_bytes}{'' if ok else '  WRONG'}")
            said = oracle.context(loaded[name, mix], tokens, kind, flash, ubatch)
            cache, compute = printed(said)
            want = predicted(model, tokens, kind, ubatch)
            ours = buffers.compute_bytes(
                model, tokens, ubatch, flash=flash, holds_output=True, copies=False, build=None
            ) / MIB
            ok = abs(cache - want) < 0.006 * max(1, said.count("kv_cache"))
            wrong += not ok
            print(
                f"    {tokens:>7} {kind:5} {'flash' if flash else 'plain'} ubatch {ubatch:<5} cache {cache:10.2f} MiB, "
                f"predicted {want:10.2f}{'' if ok else '  WRONG'}   compute (CPU) {compute or 0:8.2f}, predicted for "
                f"CUDA {ours:8.2f}"
            )
            if args.show:
                print(said)
    print(f"{len(CASES)} contexts, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
