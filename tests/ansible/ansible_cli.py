"""Ansible's own programs, from the environment that the tier keeps, and the collection as it would be shipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CACHE = Path(os.environ.get("GPUDOCTOR_TESTS_CACHE", Path.home() / ".cache" / "gpudoctor-tests"))
PROGRAMS = CACHE / f"ansible-{sys.version_info[0]}.{sys.version_info[1]}" / "bin"
#: The Python of the hosts.
HOST_PYTHON = "/usr/bin/python3"
SSH = (
    "-o ControlMaster=auto -o ControlPersist=60s -o ConnectTimeout=3 -o ServerAliveInterval=3 "
    "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
)


class Ansible:
    """Runs Ansible's programs with the collection installed, and with no configuration of this machine's."""

    def __init__(self, place: Path, collections: Path) -> None:
        self.place = place
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))},
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(place),
            "PWD": str(place),
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_HOME": str(place / ".ansible"),
            "ANSIBLE_HOST_KEY_CHECKING": "0",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_ARGS": SSH,
            "ANSIBLE_REMOTE_USER": "root",
            "ANSIBLE_PYTHON_INTERPRETER": HOST_PYTHON,
            "LC_ALL": "C.UTF-8",
        }

    def run(self, *command: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", cwd=cwd or self.place,
            env={**self.environment, **variables}, timeout=300, check=False,
        )  # fmt: skip

    def play(self, namespace: str, key: Path, inventory: Path, *arguments: str) -> Play:
        """Run a playbook from the controller's network, and say what it did."""
        done = self.run(
            # Connections that ssh keeps open end with the play.
            "ip", "netns", "exec", namespace, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
            "ansible-playbook", "-i", str(inventory), *arguments,
            ANSIBLE_PRIVATE_KEY_FILE=str(key),
        )  # fmt: skip
        return Play(done)


class Play:
    """What a play did."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.text = done.stdout + done.stderr
        self.recap: dict[str, dict[str, int]] = {}
        _, _, recap = done.stdout.rpartition("PLAY RECAP")
        for line in recap.splitlines()[1:]:
            host, colon, counts = line.partition(" : ")
            if colon:
                pairs = (pair.split("=") for pair in counts.split())
                self.recap[host.strip()] = {name: int(value) for name, value in pairs}


def module(ansible: Ansible, path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Run the module alone, as Ansible does on a target."""
    arguments = ansible.place / "arguments.json"
    arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": options}))
    done = ansible.run(str(PROGRAMS / "python"), str(path), str(arguments))
    return dict(json.loads(done.stdout))
