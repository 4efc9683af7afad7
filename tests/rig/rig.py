"""Real Docker engines for tests, each in a temporary folder of its own.

``with engine() as docker: docker.client().containers.run(...)``: no bridge, no iptables, no registry; whatever
happens to the test or to Python, ``keeper`` ends the engine and all it started. Root only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from rig_packages import newest_engine

HERE = Path(__file__).resolve().parent
SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
CLIENTS = ("/usr/bin/docker", "/usr/local/bin/docker")
#: Not the interpreter's launcher, which may be a script that needs a home.
PYTHON = os.path.realpath(sys.executable)


class EngineFailed(Exception):
    """An engine that did not come up; the end of its log."""


class Engine:
    """One running engine. ``socket`` is its API; ``path`` is where it looks for programs and hooks."""

    def __init__(self, folder: Path, path: Sequence[str | Path], config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.path = [str(place) for place in path]
        self.keeper: subprocess.Popen[str] | None = None
        self.clients: list[Any] = []
        cgroup = folder.name
        self.config = {
            "data-root": str(folder / "data"), "exec-root": str(folder / "exec"), "pidfile": str(folder / "pidfile"),
            "hosts": [f"unix://{self.socket}"], "bridge": "none", "iptables": False, "ip6tables": False,
            "storage-driver": "overlay2", "cgroup-parent": f"/{cgroup}/containers",
            "exec-opts": ["native.cgroupdriver=cgroupfs"], **config,
        }  # fmt: skip
        # The engines of today speak no overlay2 where containerd keeps the images.
        self.config.setdefault("features", {}).setdefault("containerd-snapshotter", False)
        self._write_config()

    def _write_config(self) -> None:
        (self.folder / "daemon.json").write_text(json.dumps(self.config))

    def start(self) -> None:
        dockerd = shutil.which("dockerd", path=":".join(self.path))
        if dockerd is None:
            raise EngineFailed("no dockerd here (Debian package docker.io)")
        told = {
            "folder": str(self.folder), "cgroup": f"{self.folder.name}",
            "command": [dockerd, "--config-file", str(self.folder / "daemon.json")],
            "environment": {"PATH": ":".join(self.path), "HOME": str(self.folder), "TMPDIR": str(self.folder)},
        }  # fmt: skip
        self.keeper = subprocess.Popen(
            ["unshare", "-m", "-n", "--propagation=private", PYTHON, "-I", str(HERE / "keeper.py"), json.dumps(told)],
            stdin=subprocess.PIPE, start_new_session=True, text=True,
        )  # fmt: skip
        self._wait()

    @property
    def pipe(self) -> IO[str]:
        assert self.keeper is not None
        assert self.keeper.stdin is not None
        return self.keeper.stdin

    def _wait(self, seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._answers():
                return
            if self.keeper is None or self.keeper.poll() is not None:
                break
            time.sleep(0.02)
        raise EngineFailed(self._log())

    def _log(self) -> str:
        log = self.folder / "engine.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else "it was not started"

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:
            one.settimeout(5)
            one.connect(str(self.socket))
            one.sendall(b"GET /_ping HTTP/1.0\r\nHost: x\r\n\r\n")
            return b" 200 " in one.recv(100)
        return False

    @property
    def url(self) -> str:
        """What DOCKER_HOST must say."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    @property
    def version(self) -> str:
        return str(self.client().version()["Version"])

    def client(self) -> Any:
        import docker

        client = docker.DockerClient(base_url=self.url, timeout=60)
        self.clients.append(client)
        return client

    def cli(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the command-line client, which understands ``--gpus`` and ``--device nvidia.com/gpu=0``."""
        program = next((name for name in CLIENTS if Path(name).exists()), "docker")
        beside = Path(self.path[0]).parent / "bin" / "docker"
        return subprocess.run(
            [str(beside) if beside.exists() else program, "-H", self.url, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip

    def restart(self, **config: Any) -> None:
        """Restart with these changes of daemon.json; without any, what is on the disk now is read."""
        if config:
            self.config.update(config)
            self._write_config()
        before = self.pid
        self.pipe.write("restart\n")
        self.pipe.flush()
        end = time.monotonic() + 60
        while self.pid == before:
            if time.monotonic() > end or self.keeper is None or self.keeper.poll() is not None:
                raise EngineFailed(f"it was not started again: {self._log()}")
            time.sleep(0.02)
        self._wait()

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        if self.keeper is not None:
            self.pipe.close()
            self.keeper.wait(timeout=30)


@contextlib.contextmanager
def engine(
    release: str = "system", *, path: Sequence[str | Path] = (), config: Mapping[str, Any] | None = None
) -> Generator[Engine, None, None]:
    """Run an engine for as long as the block lasts.

    Args:
        release: ``system`` is the one that is installed here, ``newest`` Debian's newest (fetched once).
        path: Folders that it searches before the system's: where its hooks are.
        config: More of daemon.json.

    Raises:
        EngineFailed: It did not come up.
        NoPackages: ``newest`` could not be fetched.
    """
    unpacked = newest_engine() if release == "newest" else None
    own = [unpacked / "usr/sbin", unpacked / "usr/bin"] if unpacked else []
    folder = Path(tempfile.mkdtemp(prefix="gpudoctor-rig-"))
    running = Engine(folder, [*own, *path, *SYSTEM_PATH], config or {})
    try:
        running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)
