"""How long the Docker probe takes beside the engine's own answers.

Usage: docker_speed.py [--rounds N] [--containers N] [--release system|newest]; needs root and dockerd; exits 1 above
the limit. The engine is a real one of its own (tests/rig) with running containers. Both sides ask the same questions
over the same socket in the same process, in turns; a bare HTTP connection is the measure. The start of Python and its
imports count on neither side.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[1:1] = [str(Path(__file__).parent.parent / "tests" / folder) for folder in ("rig", "standin")]

import rig  # noqa: E402
import rig_images  # noqa: E402

from gpudoctor.probes import docker_client, docker_engine  # noqa: E402
from gpudoctor.probes.reporter import Reporter  # noqa: E402
from gpudoctor.probes.root import Root  # noqa: E402

LIMIT = 1.3


class Bare(http.client.HTTPConnection):
    """A connection to the socket without any library around it."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def get(self, path: str) -> bytes:
        """Return what the engine answers."""
        self.request("GET", path)
        return self.getresponse().read()


def seconds(what: Callable[[], None]) -> float:
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def questions(path: str, asked: list[str]) -> None:
    bare = Bare(path)
    for each in asked:
        bare.get(each)
    bare.close()


def probe() -> None:
    handle = os.open(os.devnull, os.O_WRONLY)
    docker_engine.probe(Reporter(handle), Root())
    os.close(handle)


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=30)
    arguments.add_argument("--containers", type=int, default=8)
    arguments.add_argument("--release", default="system")
    told = arguments.parse_args()
    with rig.engine(told.release) as engine:
        client = engine.client()
        rig_images.load(client, (rig_images.GLIBC,))
        for _ in range(told.containers):
            client.containers.run(rig_images.GLIBC, ["sleep", "600"], detach=True, network_mode="none")
        os.environ["DOCKER_HOST"] = engine.url
        asked: list[str] = []
        real = docker_client.EngineClient._ask

        def recorded(self: docker_client.EngineClient, path: str) -> None:
            asked.append(path)
            real(self, path)

        docker_client.EngineClient._ask = recorded  # type: ignore[method-assign]
        probe()
        docker_client.EngineClient._ask = real  # type: ignore[method-assign]
        bare, whole, used = [], [], []
        for _ in range(told.rounds):
            bare.append(seconds(lambda: questions(str(engine.socket), asked)))
            before = time.process_time()
            whole.append(seconds(probe))
            used.append(time.process_time() - before)
    # The least of each: what else the machine does only adds.
    ratio = min(whole) / min(bare)
    print(json.dumps({"engine": told.release, "containers": told.containers, "questions": len(asked),
                      "engine_ms": round(1000 * min(bare), 1),
                      "probe_ms": round(1000 * min(whole), 1), "probe_cpu_ms": round(1000 * min(used), 1),
                      "ratio": round(ratio, 3),
                      "limit": LIMIT}))
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
