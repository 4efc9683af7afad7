"""A rack of hosts on this machine: each a real sshd in namespaces of its own, with its own GPUs and its own files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from standin import machine, stand_in

#: What a host may write: an overlay of this system's own folder, so that one host's files are not another's.
OWN = ("etc", "opt", "usr", "var", "root")
START = r"""
set -e
name=$1 place=$2 sshd=$3
mount -t tmpfs layers "$place/layers"
for folder in {own}; do
    mkdir -p "$place/layers/$folder/upper" "$place/layers/$folder/work"
    mount -t overlay overlay -o \
        "lowerdir=/$folder,upperdir=$place/layers/$folder/upper,workdir=$place/layers/$folder/work" "/$folder"
done
mount -t tmpfs run /run
mkdir /run/sshd
# A server to which Docker has not come yet, and gpudoctor neither.
rm -rf /usr/bin/docker* /usr/sbin/dockerd /usr/bin/dockerd /usr/lib/systemd/system/docker* /etc/docker
rm -rf /usr/local/bin/gpudoctor /opt/gpudoctor
hostname "$name"
exec "$sshd" -D -e -f "$place/sshd_config"
"""


class Host:
    """One server. ``files`` is where what it wrote can be seen from outside."""

    def __init__(self, name: str, place: Path, address: str, namespace: str, controller: str) -> None:
        self.name = name
        self.place = place
        self.address = address
        self.namespace = namespace
        self.controller = controller
        self.link = f"to-{name}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, gpus: str, key: Path) -> None:
        (self.place / "layers").mkdir(parents=True)
        seen = stand_in(self.place, gpus)
        settings = " ".join(f"{name}={value}" for name, value in seen.items())
        (self.place / "sshd_config").write_text(
            f"ListenAddress {self.address}\nPort 22\nHostKey {key}\nAuthorizedKeysFile {key}.pub\nUsePAM no\n"
            f"StrictModes no\nPermitRootLogin yes\nPidFile none\n"
            # Python compiles what it needs of what pip installs, which is little.
            f"SetEnv {settings} PIP_NO_COMPILE=1\n"
            f"Subsystem sftp internal-sftp\n"
        )
        (self.place / "start.sh").write_text(START.replace("{own}", " ".join(OWN)))
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.controller, "link", "add", self.link, "type", "veth", "peer", "name", "eth0",
            "netns", self.namespace)  # fmt: skip
        run("ip", "-n", self.controller, "link", "set", self.link, "master", "rack", "up")
        run("ip", "-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.namespace, "link", "set", "eth0", "up")
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        with (self.place / "sshd.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, "unshare", "--mount", "--uts", "--pid", "--fork",
                 "--kill-child", "--mount-proc", "--propagation", "private",
                 "sh", str(self.place / "start.sh"), self.name, str(self.place), sshd],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        deadline = time.monotonic() + 20
        while b"Server listening" not in (self.place / "sshd.log").read_bytes():
            if time.monotonic() > deadline or self.process is None or self.process.poll() is not None:
                raise RuntimeError((self.place / "sshd.log").read_text())
            time.sleep(0.05)

    def unplug(self) -> None:
        run("ip", "-n", self.controller, "link", "set", self.link, "down")

    def plug(self) -> None:
        run("ip", "-n", self.controller, "link", "set", self.link, "up")

    @property
    def root(self) -> Path:
        """This host's file system, seen from outside."""
        assert self.process is not None
        # ip and unshare; the child of the latter is the host's first process.
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return Path(f"/proc/{children[0]}/root")

    def written(self) -> dict[str, bytes]:
        """Return the content of every file that is this host's own, but for logs and what Python compiled."""
        found: dict[str, bytes] = {}
        for folder in OWN:
            upper = Path(f"{self.root}{self.place}", "layers", folder, "upper")
            for path in sorted(upper.rglob("*")):
                name = f"/{folder}/{path.relative_to(upper)}"
                if path.is_symlink():
                    found[name] = str(path.readlink()).encode()
                elif path.is_file() and "__pycache__" not in name and not name.startswith("/var/log/"):
                    found[name] = path.read_bytes()
        return found

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True, check=False)


class Rack:
    """The hosts, and the controller that reaches them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.controller = f"gdrack-{os.getpid()}"
        self.hosts: dict[str, Host] = {}
        self.key = place / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))
        run("ip", "netns", "add", self.controller)
        run("ip", "-n", self.controller, "link", "add", "rack", "type", "bridge")
        run("ip", "-n", self.controller, "addr", "add", "10.77.0.254/24", "dev", "rack")
        run("ip", "-n", self.controller, "link", "set", "rack", "up")
        run("ip", "-n", self.controller, "link", "set", "lo", "up")

    def add(self, name: str, gpus: str, *lines: str) -> Host:
        number = len(self.hosts) + 1
        host = Host(name, self.place / name, f"10.77.0.{number}", f"{self.controller}-{number}", self.controller)
        self.hosts[name] = host
        host.start(machine(gpus, *lines), self.key)
        return host

    def inventory(self, **variables: str) -> Path:
        """Write the inventory; ``gpu01="a=1"`` adds to the line of that host."""
        lines = [
            f"{host.name} ansible_host={host.address} {variables.get(host.name, '')}" for host in self.hosts.values()
        ]
        path = self.place / "inventory.ini"
        path.write_text("[gpus]\n" + "\n".join(lines) + "\n")
        return path

    def stop(self) -> None:
        for host in self.hosts.values():
            host.stop()
        subprocess.run(["ip", "netns", "del", self.controller], capture_output=True, check=False)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
