"""How long the three paths of ``gpudoctor check --live`` take beside three bare ``docker run`` of the same image.

Usage: live_speed.py [--rounds N]; exits 1 above the limit. Root only: it starts a Docker of its own, whose toolkit is
doubled by tests/rig. Both sides are measured in turns, and the ratio of their medians is what counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests" / name) for name in ("rig", "standin")]

import rig_images  # noqa: E402
from rig import Engine, engine  # noqa: E402
from rig_doubles import Toolkit  # noqa: E402

from gpudoctor.facts.live import Live  # noqa: E402
from gpudoctor.probes.take import take_snapshot  # noqa: E402

LIMIT = 2.0
OPTIONS = (("--gpus", "all"), ("--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=all"),
           ("--device", "nvidia.com/gpu=all"))  # fmt: skip


def bare(docker: Engine) -> float:
    began = time.perf_counter()
    for options in OPTIONS:
        done = docker.cli("run", "--rm", "--network", "none", *options, rig_images.GLIBC, "nvidia-smi", "-L")
        assert done.returncode == 0, done.stderr
    return time.perf_counter() - began


def tried(image: str) -> float:
    began = time.perf_counter()
    live = take_snapshot(live=True, sections=["live"], options={"probe_image": image}).live
    assert isinstance(live, Live), live
    assert [path.seen.listed for path in live.paths] == [4, 4, 4], live
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        toolkit = Toolkit(Path(name) / "toolkit")
        specs = Path(name) / "cdi"
        toolkit.write_cdi(specs / "nvidia.json")
        config = {**toolkit.registration, "cdi-spec-dirs": [str(specs)]}
        with engine("newest", path=[toolkit.bin], config=config) as docker:
            rig_images.load(docker.client(), (rig_images.GLIBC, rig_images.PYTHON))
            os.environ["DOCKER_HOST"] = docker.url
            bare(docker)
            times: dict[str, list[float]] = {"bare": [], "shell": [], "python": []}
            for _ in range(rounds):
                times["bare"].append(bare(docker))
                times["shell"].append(tried(rig_images.GLIBC))
                times["python"].append(tried(rig_images.PYTHON))
    middle = {name: statistics.median(found) for name, found in times.items()}
    worst = 0.0
    for kind in ("shell", "python"):
        ratio = middle[kind] / middle["bare"]
        worst = max(worst, ratio)
        print(f"three paths by {kind}: {ratio:.2f} x three bare docker run (limit {LIMIT:g})")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
