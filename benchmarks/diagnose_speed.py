"""How fast and in how much memory `diagnose` reads logs, beside `grep -aciE` with the same words in the same run.

`python benchmarks/diagnose_speed.py [MB]`: realistic logs of vLLM, Ollama and a kernel, one with a request's id in each
line, and two whose every line nearly fits a signature; linearity over 1/10, 1 and 4 times the size. Measured is the
processor time of the whole command, its start included. The ratio is the figure; speeds are the machine's.
"""

import re
import resource
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

LEAST_RATIO = 1 / 20
MOST_RSS_MIB = 120
DIAGNOSE = (sys.executable, "-m", "gpudoctor", "diagnose")


def vllm(number: int) -> str:
    """Requests and throughput, as the server prints them."""
    if number % 10 == 0:
        return (f"INFO 11-02 09:{number // 60 % 60:02}:{number % 60:02} [loggers.py:127] Engine 000: Avg prompt "
                f"throughput: {number % 977}.1 tokens/s, Avg generation throughput: {number % 331}.4 tokens/s, "
                f"Running: {number % 64} reqs, Waiting: 0 reqs, GPU KV cache usage: {number % 97}.2%, "
                "Prefix cache hit rate: 41.7%")
    if number % 10 == 1:
        return (f"INFO 11-02 09:00:{number % 60:02} [logger.py:40] Received request chatcmpl-{number * 7919:032x}: "
                f"prompt: '<|im_start|>user\\nWrite a story about number {number}<|im_end|>', params: "
                f"SamplingParams(n=1, presence_penalty=0.0, temperature=0.7, top_p=0.8, max_tokens={number % 4096})")
    return f'INFO:     10.0.{number % 250}.4:{number % 60000} - "POST /v1/chat/completions HTTP/1.1" 200 OK'


def ollama(number: int) -> str:
    """Requests and the scheduler's words."""
    if number % 5 == 0:
        return (f'time=2025-09-10T10:{number // 60 % 60:02}:{number % 60:02}.000Z level=INFO source=sched.go:500 '
                f'msg="loaded runners" count=1 runner.size="{number % 40}.1 GiB" runner.parallel=1')
    return (f"[GIN] 2025/09/10 - 10:{number // 60 % 60:02}:{number % 60:02} | 200 |  {number % 90}.1{number % 7}s |"
            f'       127.0.0.1 | POST     "/api/chat"')


def kernel(number: int) -> str:
    """Network, USB and audit messages."""
    return (
        f"[{number // 10}.{number % 1000000:06}] usb 1-{number % 9}: new high-speed USB device number {number % 127}",
        f"[{number // 10}.{number % 1000000:06}] audit: type=1400 audit(17000{number % 99999:05}.1:{number}): "
        f'apparmor="ALLOWED" operation="open" profile="snap" pid={number}',
        f"[{number // 10}.{number % 1000000:06}] docker0: port {number % 30}(veth{number * 31 % 16777216:06x}) entered "
        "forwarding state",
    )[number % 3]


def near_miss(number: int) -> str:
    """Lines that hold a signature's word and do not say what it looks for."""
    return (
        f"nccl all is well, step {number}, nothing hangs here, p2p fine",
        f"worker {number}: nvidia-smi shows no error, out of memory never seen on cuda",
        f"bfloat16 weights {number} of flash attention, sm_90, nvcc found, cudnn loaded",
        f"container {number}: shared memory 1 GiB, /dev/shm fine, fabricmanager active",
    )[number % 4]


def request(number: int) -> str:
    """Return an id as request ids are made: it never comes twice."""
    return str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)))


def ids(number: int) -> str:
    """Lines of a gateway, each with its request."""
    return (f"2025-11-02T09:{number // 60 % 60:02}:{number % 60:02}.{number % 1000:03}Z level=info "
            f"req={request(number)} model=llama-3 status=200 tokens={number % 977} path=/v1/chat/completions")


def near_miss_ids(number: int) -> str:
    """Near misses, each with its request."""
    return f"req={request(number)} {near_miss(number)}"


LOGS: dict[str, Callable[[int], str]] = {
    "vllm": vllm, "ollama": ollama, "kernel": kernel, "ids": ids, "near-miss": near_miss,
    "near-miss-ids": near_miss_ids,
}  # fmt: skip


def words() -> str:
    """Return the signatures' own words as one extended regular expression."""
    from gpudoctor.matrices import signatures

    every = sorted({word for each in signatures.table().signature for word in each.any})
    return "|".join(re.sub(r"([^\w\s/,:'\"<>=%@&!~`;-])", r"\\\1", word) for word in every)


def write(path: Path, line: Callable[[int], str], size: int) -> None:
    """Write a log of about this many bytes."""
    with path.open("w", encoding="utf-8") as file:
        number = written = 0
        while written < size:
            block = "\n".join(line(each) for each in range(number, number + 10_000)) + "\n"
            written, number = written + file.write(block), number + 10_000


def measured(*command: str) -> tuple[float, float]:
    """Return processor seconds and MiB of one run of a command; the memory is the most of all commands so far."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # grep stops at the first match when its output is /dev/null.
    subprocess.run(command, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, after.ru_maxrss / 1024


def main() -> None:
    """Measure, and end with 1 when a bar is missed."""
    size = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 100_000_000
    missed = []
    searched = words()
    with tempfile.TemporaryDirectory() as folder:
        for name, line in LOGS.items():
            path = Path(folder) / f"{name}.log"
            write(path, line, size)
            length = path.stat().st_size / 1e6
            # Take turns, so that a busy moment of the machine meets both.
            grep = ("grep", "-aciE", searched, str(path))
            rounds = [(measured(*DIAGNOSE, str(path)), measured(*grep)) for _ in range(3)]
            (seconds, rss), (its, _) = (min(each) for each in zip(*rounds, strict=True))
            print(f"{name:13} {length / seconds:6.1f} MB/s, grep {length / its:6.1f} MB/s: 1/{seconds / its:.1f}, "
                  f"{rss:.0f} MiB")
            if its / seconds < LEAST_RATIO:
                missed.append(f"{name} is below 1/20 of grep")
            if rss > MOST_RSS_MIB:
                missed.append(f"{name} takes {rss:.0f} MiB")
            path.unlink()
        path = Path(folder) / "vllm.log"
        for share in (0.1, 1, 4):
            write(path, vllm, int(size * share))
            seconds, rss = measured(*DIAGNOSE, str(path))
            print(f"linear: {path.stat().st_size / 1e6:7.0f} MB in {seconds:6.2f} s, {rss:.0f} MiB")
    sys.exit("; ".join(missed) or None)


if __name__ == "__main__":
    main()
