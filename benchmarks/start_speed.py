"""How long ``gpudoctor --help`` takes beside ``nvitop --help``: a ratio from one run.

Usage: start_speed.py [--rounds N] [--nvitop PATH]; exits 1 above the limit. Both run with the same Python;
nvitop comes from PyPI into an environment that is thrown away, unless PATH names one.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

LIMIT = 1.5


def install_nvitop(folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "nvitop"]
    subprocess.run(pip, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return folder / "bin/nvitop"


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def compare(ours: Path, theirs: Path, rounds: int) -> tuple[float, float]:
    """Take turns, so that a busy moment of the machine meets both."""
    times: dict[Path, list[float]] = {ours: [], theirs: []}
    for tool in times:
        seconds([str(tool), "--help"])
    for _ in range(rounds):
        for tool, taken in times.items():
            taken.append(seconds([str(tool), "--help"]))
    return statistics.median(times[ours]), statistics.median(times[theirs])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--nvitop", type=Path, help="an installed nvitop")
    options = parser.parse_args()
    ours = Path(sys.executable).with_name("gpudoctor")
    if not ours.exists():
        print(f"no gpudoctor beside {sys.executable}: run this with the Python it is installed in")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        theirs = options.nvitop or install_nvitop(Path(folder))
        our_time, their_time = compare(ours, theirs, options.rounds)
    ratio = our_time / their_time
    print(f"gpudoctor --help  {our_time:.3f} s (median of {options.rounds})")
    print(f"nvitop --help     {their_time:.3f} s")
    print(f"ratio             {ratio:.2f} (limit {LIMIT}): {'ok' if ratio <= LIMIT else 'TOO SLOW'}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
