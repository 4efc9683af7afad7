"""How fast ``gpudoctor fit`` answers, beside llmfit and beside its own limits. Exits 1 above a limit.

Usage: fit_speed.py [--rounds N] [--llmfit PROGRAM]

- ``fit TAG --json`` as a whole process: at most 1.3 times ``llmfit plan MODEL --context 8192 --json`` in the same run
  (PyPI's llmfit, a compiled program). Left out, and said so, without llmfit.
- The header of a 60 GB GGUF file (sparse, real tensor list): at most twice the catalogue's time, under 80 MB resident.
- Reverse solving over 500 configurations: at most one second of processor time.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FACTOR, HEADER_FACTOR, RESIDENT_LIMIT_MB, SOLVE_LIMIT_S = 1.3, 2.0, 80.0, 1.0
COMMAND = [str(Path(sys.executable).with_name("gpudoctor")), "fit"]
RESIDENT = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""
LAYERS, HIDDEN, WIDTH, KEYS, VOCABULARY = 80, 8192, 28672, 1024, 128256


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, float]:
    """Median wall time of each command in seconds, taken in turn so that all meet the same machine."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if round_:
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


def sparse_gguf(path: Path) -> None:
    """A 70B Llama in Q6_K with its whole tensor list, all data a hole."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def number(key: str, value: int) -> bytes:
        return text(key) + struct.pack("<II", 4, value)

    pairs = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        number("llama.block_count", LAYERS), number("llama.context_length", 131072),
        number("llama.embedding_length", HIDDEN), number("llama.feed_forward_length", WIDTH),
        number("llama.attention.head_count", 64), number("llama.attention.head_count_kv", 8),
        number("llama.vocab_size", VOCABULARY), number("general.file_type", 18),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, VOCABULARY)
        + b"".join(text(f"token{i}") for i in range(VOCABULARY)),
    ]  # fmt: skip
    shapes = [("token_embd", (HIDDEN, VOCABULARY)), ("output", (HIDDEN, VOCABULARY))]
    for layer in range(LAYERS):
        for name, shape in (
            ("attn_q", (HIDDEN, HIDDEN)), ("attn_k", (HIDDEN, KEYS)), ("attn_v", (HIDDEN, KEYS)),
            ("attn_output", (HIDDEN, HIDDEN)), ("ffn_gate", (HIDDEN, WIDTH)), ("ffn_up", (HIDDEN, WIDTH)),
            ("ffn_down", (WIDTH, HIDDEN)),
        ):  # fmt: skip
            shapes.append((f"blk.{layer}.{name}", shape))
    offset, listed = 0, []
    for name, (columns, rows) in shapes:
        listed.append(text(f"{name}.weight") + struct.pack("<IQQIQ", 2, columns, rows, 14, offset))
        offset += -(-(columns // 256 * 210 * rows) // 32) * 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(pairs)) + b"".join(pairs) + b"".join(listed)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(-(-len(head) // 32) * 32 + offset)


def resident_mb(command: list[str]) -> float:
    done = subprocess.run([sys.executable, "-c", RESIDENT, *command], capture_output=True, text=True, check=True)
    return float(done.stdout)


def solve_500() -> float:
    """Processor time of 500 predictions that differ in context, cache type and quantization."""
    from gpudoctor.fit import sources
    from gpudoctor.fit.hardware import Hardware, named
    from gpudoctor.fit.limits import predict
    from gpudoctor.fit.question import Question
    from gpudoctor.fit.settings import Settings

    model = sources.load("llama3.3:70b", form="gguf")
    question = Question(model, Settings(engine="llama.cpp"), Hardware(named("4x RTX 3090")[0]))
    started = time.process_time()
    for quant in ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M"):
        smaller = sources.requantized(model, quant) or model
        for kind in ("f16", "q8_0", "q5_1", "q4_0"):
            for step in range(25):
                predict(question._replace(model=smaller), context=1024 + 5000 * step, kv_cache_type=kind)
    return time.process_time() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--llmfit", default=shutil.which("llmfit"))
    args = parser.parse_args()
    over = 0

    def say(what: str, value: float, limit: float, unit: str) -> None:
        nonlocal over
        over += value > limit
        print(f"{what:44} {value:8.3f} {unit:2}  limit {limit:g} {unit}{'  OVER' if value > limit else ''}")

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "seventy.gguf"
        sparse_gguf(file)
        size_gb = file.stat().st_size / 1e9
        commands = {
            "catalogue": [*COMMAND, "llama3.3:70b", "--json"],
            "gguf": [*COMMAND, str(file), "--json"],
        }
        if args.llmfit:
            commands["llmfit"] = [args.llmfit, "plan", "openai/gpt-oss-120b", "--context", "8192", "--json"]
            commands["tag"] = [*COMMAND, "gpt-oss:120b", "--json"]
        times = measure(commands, args.rounds)
        print({name: round(value, 3) for name, value in times.items()})
        if args.llmfit:
            say("fit TAG --json / llmfit plan", times["tag"] / times["llmfit"], FACTOR, "x")
        else:
            print("llmfit is not here: the comparison with it is left out (pip install llmfit, or --llmfit PROGRAM)")
        say(f"header of {size_gb:.0f} GB / catalogue", times["gguf"] / times["catalogue"], HEADER_FACTOR, "x")
        say("resident memory for the header", resident_mb(commands["gguf"]), RESIDENT_LIMIT_MB, "MB")
    say("500 configurations, processor time", solve_500(), SOLVE_LIMIT_S, "s")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
