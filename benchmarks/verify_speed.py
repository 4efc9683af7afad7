"""How fast ``gpudoctor verify`` reads beside ``sha256sum -c``: ratios from one run, per core and with every core.

Usage: verify_speed.py [--rounds N] [--mib N] [--files N]; exits 1 below a limit. Both read the same files from the page
cache, in turns; ``sha256sum`` on several cores is one process for each (``xargs -P``).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: Of sha256sum's throughput on one core, and of the speed-up that as many processes of it reach on all cores.
LIMIT, SCALING = 0.9, 0.8


def seconds(command: list[str], folder: Path, cores: set[int]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   preexec_fn=lambda: os.sched_setaffinity(0, cores))  # fmt: skip
    return time.perf_counter() - started


def make(folder: Path, files: int, mib: int) -> None:
    block = os.urandom(1 << 20)
    rows = []
    for number in range(files):
        name = f"model-{number:02}.dat"
        with (folder / name).open("wb") as file:
            for _ in range(mib):
                file.write(block)
        done = subprocess.run(["sha256sum", name], cwd=folder, check=True, capture_output=True)
        rows.append(done.stdout)
    (folder / "SHA256SUMS").write_bytes(b"".join(rows))


def compare(commands: dict[str, list[str]], folder: Path, cores: set[int], rounds: int) -> dict[str, float]:
    """Take turns, so that a busy moment of the machine meets both."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(seconds(command, folder, cores))
    return {name: min(taken) if rounds < 5 else statistics.median(taken) for name, taken in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=512, help="size of each file")
    parser.add_argument("--files", type=int, default=4)
    options = parser.parse_args()
    ours = Path(sys.executable).with_name("gpudoctor")
    if not ours.exists():
        print(f"no gpudoctor beside {sys.executable}: run this with the Python it is installed in")
        return 2
    cores = os.sched_getaffinity(0)
    one = {min(cores)}
    parallel = f"xargs -P {len(cores)} -n 1 sha256sum"
    check = ["sha256sum", "-c", "--quiet", "SHA256SUMS"]
    commands = {"gpudoctor": [str(ours), "verify", "-qq", "."], "sha256sum": check}
    every = {"gpudoctor": commands["gpudoctor"], "sha256sum": ["sh", "-c", f"ls *.dat | {parallel}"]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.files, options.mib)
        total = options.files * options.mib
        single = compare(commands, folder, one, options.rounds)
        many = compare(every, folder, cores, options.rounds)
    for label, taken in (("1 core", single), (f"{len(cores)} cores", many)):
        for tool, spent in taken.items():
            print(f"{label:<9} {tool:<10} {total / spent:7.0f} MiB/s")
    ratio = single["sha256sum"] / single["gpudoctor"]
    gained = (single["gpudoctor"] / many["gpudoctor"]) / (single["sha256sum"] / many["sha256sum"])
    print(f"per core  {ratio:.2f} of sha256sum (limit {LIMIT}): {'ok' if ratio >= LIMIT else 'TOO SLOW'}")
    print(f"scaling   {gained:.2f} of its speed-up (limit {SCALING}): {'ok' if gained >= SCALING else 'TOO SLOW'}")
    return 0 if ratio >= LIMIT and gained >= SCALING else 1


if __name__ == "__main__":
    sys.exit(main())
