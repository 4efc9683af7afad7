"""How long ``gpudoctor check --json`` takes beside what it cannot do without, and how much memory it holds.

Usage: check_speed.py [--rounds N] [--standin FOLDER]; exits 1 above a limit. The machine is a stand-in with eight
GPUs: FOLDER holds its libnvidia-ml.so.1; without FOLDER it is built from tests/standin, and needs gcc.

The whole may take 1.25 times what is unavoidable (the slowest probe, or the processor time of all probes spread
over all processors, whichever is more) and the tool's own start. All is measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FACTOR = 1.25
RESIDENT_LIMIT_MB = 60

# Runs the command line as the console script does, and adds what only that process knows.
WHOLE = """
import json, resource, sys
import gpudoctor.probes.take as take
probes = []
run_probes = take.run_probes
def recorded(*args, **kwargs):
    answers = run_probes(*args, **kwargs)
    probes.extend((answer.name, answer.outcome) for answer in answers)
    return answers
take.run_probes = recorded
from gpudoctor.cli import main
sys.argv[0] = "gpudoctor"
code = 0
try:
    main()
except SystemExit as end:
    code = end.code
children = resource.getrusage(resource.RUSAGE_CHILDREN)
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
measured = {"probes": probes, "cpu_s": children.ru_utime + children.ru_stime, "resident_mb": peak / 1024, "code": code}
print(json.dumps(measured), file=sys.stderr)
"""

# Runs each of the named probes by itself.
ALONE = """
import json, sys, time
from gpudoctor.probes import PROBES
from gpudoctor.probes.runner import run_probes
taken = {}
for spec in PROBES:
    if spec.name in sys.argv[1:]:
        started = time.perf_counter()
        run_probes([spec])
        taken[spec.name] = time.perf_counter() - started
print(json.dumps(taken), file=sys.stderr)
"""


def build_standin(folder: Path) -> None:
    """Build the eight-GPU machine of the tests."""
    source = Path(__file__).parents[1] / "tests/standin/nvml.c"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(folder / "libnvidia-ml.so.1"), str(source)]
    subprocess.run(command, check=True)


def run(script: str, arguments: list[str], environment: dict[str, str]) -> tuple[float, dict[str, Any]]:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )
    taken = time.perf_counter() - started
    try:
        measured: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    except (IndexError, ValueError):
        raise SystemExit(f"the run measured nothing:\n{done.stderr.decode()}") from None
    if measured.get("code", 0) not in (0, 1, 3):
        raise SystemExit(f"check gave no report (exit code {measured['code']}):\n{done.stderr.decode()}")
    return taken, measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--standin", type=Path, help="folder with a stand-in libnvidia-ml.so.1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        standin = options.standin or Path(folder)
        if options.standin is None:
            build_standin(standin)
        environment = {**os.environ, "LD_LIBRARY_PATH": str(standin)}
        check = ["check", "--json"]
        _, first = run(WHOLE, check, environment)
        names = [name for name, _ in first["probes"]]
        walls, starts, slowest, processor, resident = [], [], [], [], []
        for _ in range(options.rounds):
            starts.append(run(WHOLE, ["--help"], environment)[0])
            slowest.append(max((taken, name) for name, taken in run(ALONE, names, environment)[1].items()))
            wall, measured = run(WHOLE, check, environment)
            walls.append(wall)
            processor.append(measured["cpu_s"])
            resident.append(measured["resident_mb"])
    processors = len(os.sched_getaffinity(0))
    start, wall, cpu, peak = (statistics.median(x) for x in (starts, walls, processor, resident))
    slow, name = sorted(slowest)[len(slowest) // 2]
    allowed = FACTOR * max(slow, cpu / processors) + start
    print(f"start             {start:.3f} s (medians of {options.rounds})")
    print(f"slowest probe     {slow:.3f} s ({name})")
    print(f"processor time    {cpu:.3f} s of all probes, {cpu / processors:.3f} s on each of {processors} processors")
    print(f"check --json      {wall:.3f} s (exit code {measured['code']})")
    fast = wall <= allowed
    print(f"ratio             {wall / allowed:.2f} of the {allowed:.3f} s allowed: {'ok' if fast else 'TOO SLOW'}")
    small = peak < RESIDENT_LIMIT_MB
    print(f"resident memory   {peak:.0f} MB (limit {RESIDENT_LIMIT_MB}): {'ok' if small else 'TOO MUCH'}")
    failed = [f"{name}: {outcome}" for name, outcome in first["probes"] if outcome != "ok"]
    print(f"probes            {len(names)} ran; {'; '.join(failed) or 'all well'}")
    return 0 if fast and small else 1


if __name__ == "__main__":
    sys.exit(main())
