"""How much processor time a plan takes, beside what it is made of. Exits 1 above a limit.

Usage: plan_speed.py [--rounds N]

- Twelve services on sixteen GPUs are placed, shares and verification included, in at most one second of processor time;
  a house that they do not fit on, where the search gives up, likewise.
- Twice the services take at most ``GROWTH`` times as long: the search is bounded, whatever it is given.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from gpudoctor.facts.compose import Place
from gpudoctor.fit.hardware import Hardware, named
from gpudoctor.fit.settings import GIB, Settings
from gpudoctor.plan.answer import Plan, plan
from gpudoctor.plan.service import Service

LIMIT_S, GROWTH = 1.0, 6.0
HERE = Place(file="plan.toml", line=1)


def vllm(name: str, model: str, ranks: int | None = None, context: int | None = 16384) -> Service:
    """Return a vLLM service."""
    settings = Settings(engine="vllm", tensor_parallel=ranks, context=context)
    return Service(name, HERE, engine="vllm", models=(model,), settings=settings)


def house(copies: int = 1) -> list[Service]:
    """Return twelve services of all kinds, so many times."""
    one = [
        vllm("gpt", "openai/gpt-oss-120b", 4), vllm("llama", "meta-llama/Llama-3.3-70B-Instruct", 4),
        vllm("qwen", "Qwen/Qwen3-32B"), vllm("qwen2", "Qwen/Qwen3-32B", 2), vllm("small", "Qwen/Qwen3-8B", None, None),
        vllm("gemma", "google/gemma-3-27b-it"), vllm("coder", "Qwen/Qwen3-14B"),
        Service("brain", HERE, engine="ollama", models=("gpt-oss:120b",), settings=Settings(engine="ollama")),
        Service("fast", HERE, engine="ollama", models=("gpt-oss:20b",), settings=Settings(engine="ollama")),
        Service("speech", HERE, kind="faster-whisper", models=("large-v3",)),
        Service("pictures", HERE, kind="diffusers", models=("sdxl",)), Service("tool", HERE, memory_bytes=20 * GIB),
    ]  # fmt: skip
    return [each._replace(name=f"{each.name}-{n}") for n in range(copies) for each in one]


def joined(hardware: str) -> Hardware:
    """Return GPUs in NVLink groups of eight on two sockets."""
    gpus = named(hardware)[0]
    group = [tuple(n for n in range(len(gpus)) if n // 8 == gpu.number // 8 and n != gpu.number) for gpu in gpus]
    return Hardware(tuple(
        gpu._replace(peers=group[gpu.number], numa_node=gpu.number // 8) for gpu in gpus), live=True)  # fmt: skip


def taken(act: Callable[[], Plan], rounds: int) -> float:
    """Return the least processor time of several rounds, in seconds."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        act()
        times.append(time.process_time() - started)
    return min(times)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit code whether every limit holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args(arguments).rounds
    cases = {
        "12 services on 16x H100": (house(), joined("16x H100 80GB"), LIMIT_S),
        "12 services on 16 mixed GPUs": (house(), joined("8x A100 80GB PCIe + 8x RTX 4090"), LIMIT_S),
        "12 services that do not fit on 16x RTX 3090": (house(), joined("16x RTX 3090"), LIMIT_S),
    }
    good = True
    first = 0.0
    for name, (services, hardware, limit) in cases.items():
        seconds = taken(lambda s=services, h=hardware: plan(s, h), rounds)  # type: ignore[misc]
        first = first or seconds
        good = good and seconds <= limit
        sys.stdout.write(f"{name:48} {seconds:6.2f} s of {limit:g} s\n")
    twice = taken(lambda: plan(house(2), joined("16x H100 80GB")), rounds)
    good = good and twice <= GROWTH * max(first, 0.05)
    growth = twice / first
    sys.stdout.write(f"{'24 services on 16x H100':48} {twice:6.2f} s, {growth:.1f} of at most {GROWTH:g} times\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
