"""A real Slurm cluster of one node: munged, slurmctld and slurmd of one's own, without systemd."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

_CONF = """ClusterName=rig
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
ReturnToService=0
SlurmdParameters=config_overrides
GresTypes=gpu
{more}
NodeName=rig NodeHostname={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=100 Gres=gpu:4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """The cluster; its only node is called ``rig`` and has four GPUs."""

    def __init__(self, folder: Path, more: str) -> None:
        self.folder = folder
        self.more = more
        self.children: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        for number in range(4):
            os.mknod(self.folder / f"nvidia{number}", 0o600 | 0o020000, os.makedev(195, number))
        (self.folder / "gres.conf").write_text(f"NodeName=rig Name=gpu File={self.folder}/nvidia[0-3]\n")
        (self.folder / "slurm.conf").write_text(
            _CONF.format(host=socket.gethostname(), folder=self.folder, ports=_free_ports(2), more=self.more)
        )
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        at = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self._run("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *at)
        wait_until(lambda: (self.folder / "munge.socket").exists(), "munged")
        self._run("slurmctld", "-D")
        self._run("slurmd", "-D", "-N", "rig")
        wait_until(lambda: self.state() == "idle", "an idle node")

    def _run(self, *command: str) -> None:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SLURM_CONF": f"{self.folder}/slurm.conf"}
        with (self.folder / f"{command[0]}.console").open("wb") as console:
            self.children.append(
                subprocess.Popen(
                    ["setpriv", "--pdeathsig", "TERM", *command],
                    stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, env=environment,
                    start_new_session=True,
                )
            )  # fmt: skip

    def tell(self, *command: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's commands."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SLURM_CONF": f"{self.folder}/slurm.conf"}
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
            env=environment, cwd=self.folder,
        )  # fmt: skip

    def update(self, *words: str) -> None:
        done = self.tell("scontrol", "update", "NodeName=rig", *words)
        assert done.returncode == 0, done.stderr

    def state(self) -> str:
        return self.tell("sinfo", "-h", "-N", "-o", "%T").stdout.strip().rstrip("*")

    def reason(self) -> str:
        return self.tell("sinfo", "-h", "-N", "-o", "%E").stdout.strip()

    def log(self) -> str:
        """Return the logs' ends, for a test that fails."""
        return "\n".join(p.read_text(errors="replace")[-1500:] for p in sorted(self.folder.glob("slurm*.[lc]o*")))

    def stop(self) -> None:
        self.tell("scancel", "--state=RUNNING")
        self.tell("scancel", "--state=PENDING")
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(timeout=10)


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def wait_until(true: Callable[[], bool], what: str, seconds: float = 40) -> None:
    """Wait for something; what never comes is a failure."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)


@contextlib.contextmanager
def slurm(more: str = "") -> Generator[Slurm, None, None]:
    """Run such a cluster for as long as the block lasts; ``more`` are further lines of slurm.conf."""
    folder = Path(tempfile.mkdtemp(prefix="gpudoctor-slurm-"))
    folder.chmod(0o755)
    cluster = Slurm(folder, more)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
