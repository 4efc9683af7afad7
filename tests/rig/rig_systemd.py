"""A real systemd as PID 1 of namespaces, on cgroup v2, with a Docker that uses systemd's cgroup driver."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rig
from rig import HERE, SYSTEM_PATH
from rig_packages import newest_engine, trixie

_DOCKER = """[Unit]
DefaultDependencies=no
[Service]
Type=notify
Delegate=yes
KillMode=mixed
ExecStart={dockerd} --config-file {config}
Environment=PATH={path} HOME={home}
"""
#: What a whole system does at its start, and what would reach out of here: /tmp is shared, and systemd empties it;
#: the kernel's settings are everybody's. A unit with DefaultDependencies=yes draws all of it in.
_NEVER = (
    "systemd-tmpfiles-setup.service", "systemd-tmpfiles-setup-dev.service", "systemd-tmpfiles-clean.service",
    "systemd-tmpfiles-clean.timer", "systemd-sysctl.service", "systemd-modules-load.service",
    "systemd-binfmt.service", "systemd-random-seed.service", "systemd-repart.service", "systemd-sysusers.service",
    "systemd-firstboot.service", "proc-sys-fs-binfmt_misc.automount", "kmod-static-nodes.service",
    "systemd-udevd.service", "systemd-udev-trigger.service", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
    "sys-kernel-config.mount", "sys-fs-fuse-connections.mount",
)  # fmt: skip
_TARGET = "[Unit]\nDefaultDependencies=no\nWants=docker.service\n"


def unified() -> Path | None:
    """Return where this system's cgroup v2 is mounted."""
    lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next((Path(line[1]) for line in lines if line[2] == "cgroup2"), None)


class SystemdMachine(rig.Engine):
    """A machine within this one; its Docker's socket lies in the shared /tmp."""

    def __init__(
        self, folder: Path, path: Sequence[str | Path], config: Mapping[str, Any], over: Path | None = None
    ) -> None:
        self.over = "" if over is None else str(over)
        own = {"exec-opts": ["native.cgroupdriver=systemd"], "exec-root": "/run/docker", "pidfile": "/run/docker.pid"}
        super().__init__(folder, path, {**own, **config})
        del self.config["cgroup-parent"]
        self._write_config()
        self.init: subprocess.Popen[bytes] | None = None
        hierarchy = unified()
        assert hierarchy is not None
        self.cgroup = hierarchy / folder.name

    def start(self) -> None:
        for name in ("upper/etc/systemd/system", "work", "root", "over"):
            (self.folder / name).mkdir(parents=True)
        units = self.folder / "upper/etc/systemd/system"
        dockerd = shutil.which("dockerd", path=":".join(self.path))
        (units / "docker.service").write_text(
            _DOCKER.format(
                dockerd=dockerd, config=self.folder / "daemon.json", path=":".join(self.path), home=self.folder
            )
        )
        for name in ("docker.socket", *_NEVER):
            (units / name).symlink_to("/dev/null")
        (units / "rig.target").write_text(_TARGET)
        self.cgroup.mkdir()
        elsewhere = {place for place in (sys.prefix, sys.base_prefix, str(HERE)) if _other_device(place)}
        enter = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'
        console = (self.folder / "console").open("wb")
        self.init = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "sh", "-c", enter, "sh", str(self.cgroup),
             "unshare", "-m", "-n", "-p", "-f", "-C", "-u", "-i", "--kill-child", "--propagation", "private",
             "sh", str(HERE / "systemd_root.sh"), str(self.folder), self.over, *sorted(elsewhere)],
            stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
        )  # fmt: skip
        console.close()
        self._wait()

    def _wait(self, seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._answers():
            if self.init is not None and self.init.poll() is not None:
                break
            time.sleep(0.02)
        else:
            if time.monotonic() < end:
                return
        raise rig.EngineFailed((self.folder / "console").read_text(errors="replace")[-3000:])

    @property
    def first(self) -> int:
        """Its PID 1, by the number that it has out here."""
        assert self.init is not None
        children = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children").read_text().split()
        return int(children[0])

    def inside(self, *command: str, seconds: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in there."""
        enter = ["nsenter", "-t", str(self.first), "-m", "-n", "-p", "-C", "-u", "-i", "-r", "-w"]
        return subprocess.run(
            [*enter, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
            env={"PATH": ":".join(SYSTEM_PATH), "HOME": str(self.folder), **variables},
        )  # fmt: skip

    def systemctl(self, *arguments: str) -> str:
        done = self.inside("systemctl", *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    @property
    def systemd_version(self) -> int:
        return int(self.systemctl("--version").split()[1])

    @property
    def pid(self) -> int:
        return int(self.systemctl("show", "-P", "MainPID", "docker.service"))

    def restart(self, **config: Any) -> None:
        self.config.update(config)
        self._write_config()
        self.systemctl("restart", "docker.service")
        self._wait()

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        if self.init is None:
            return
        with contextlib.suppress(OSError, IndexError):
            os.kill(self.first, signal.SIGKILL)
        self.init.wait(timeout=30)
        for _ in range(100):
            for place in sorted(self.cgroup.glob("**/"), reverse=True):
                with contextlib.suppress(OSError):
                    place.rmdir()
            if not self.cgroup.exists():
                break
            time.sleep(0.05)


def _other_device(place: str) -> bool:
    here = Path(place).stat().st_dev
    return here not in (Path("/").stat().st_dev, Path("/tmp").stat().st_dev)


@contextlib.contextmanager
def systemd_machine(
    release: str = "system", *, path: Sequence[str | Path] = (), config: Mapping[str, Any] | None = None
) -> Generator[SystemdMachine, None, None]:
    """Run such a machine for as long as the block lasts; see ``rig.engine``."""
    unpacked = newest_engine() if release == "newest" else trixie() if release == "trixie" else None
    own = [unpacked / "usr/sbin", unpacked / "usr/bin"] if unpacked else []
    folder = Path(tempfile.mkdtemp(prefix="gpudoctor-rig-"))
    # Its systemd must be the one that runs: its files lie over this system's.
    over = unpacked if release == "trixie" else None
    machine = SystemdMachine(folder, [*own, *path, *SYSTEM_PATH], config or {}, over)
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()
        shutil.rmtree(folder, ignore_errors=True)



