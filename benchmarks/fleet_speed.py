"""``report merge`` of 100, 1,000 and 10,000 nodes: linear in their number, beside reading the same bytes as JSON.

Run it with ``python benchmarks/fleet_speed.py``.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "fixtures"
COUNTS = (100, 1_000, 10_000)


def main() -> None:
    command = str(Path(sys.executable).with_name("gpudoctor"))
    report = subprocess.run(
        [command, "check", "--snapshot", str(FOLDER / "h100x8-healthy/snapshot.json"), "--json"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(COUNTS[-1]):
            Path(folder, f"gpu{number:05}.json").write_text(report.replace('"gpu01"', f'"gpu{number:05}"'))
        files = sorted(Path(folder).iterdir())
        for count in COUNTS:
            started = time.perf_counter()
            subprocess.run([command, "report", "merge", *map(str, files[:count]), "-qq"], check=False)
            times[count] = time.perf_counter() - started
        started = time.perf_counter()
        for file in files:
            json.loads(file.read_bytes())
        plain = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    for count in COUNTS:
        print(f"{count:6} reports of {len(report) // 1024} kB: {times[count]:.2f} s")
    growth = (times[10_000] - times[100]) / (times[1_000] - times[100])
    print(f"growth from 1,000 to 10,000: {growth:.1f} x (linear is 11.0); json.loads of the same: {plain:.2f} s, "
          f"ratio {times[10_000] / plain:.2f}; peak {peak:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
