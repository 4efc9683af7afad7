"""Versions of NVIDIA's container toolkit: from packages, the Nix store or files; its own program is asked last."""

import datetime
import os
import re
from functools import lru_cache
from typing import NamedTuple

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes.command import CommandMissing, run
from gpudoctor.probes.regular_file import names_in, open_regular, real_path
from gpudoctor.probes.root import Root

_STATUS = "/var/lib/dpkg/status"
_INFO = "/var/lib/dpkg/info"
_STATUS_BYTES = 128 << 20
_RPM = ("/var/lib/rpm", "/usr/lib/sysimage/rpm")
#: The toolkit's programs came as nvidia-container-toolkit-base before 1.19, and alone on Jetson.
TOOLKIT = ("nvidia-container-toolkit", "nvidia-container-toolkit-base")
LIBRARY = ("libnvidia-container1",)
_COMPOSE = ("docker-compose-plugin", "docker-compose-v2", "docker-compose")
_ENGINES = ("podman", "containerd.io", "containerd", "nerdctl", "cri-o", "apptainer", "singularity-container")
_STORE = re.compile(r"/nix/store/[a-z0-9]{32}-(nvidia-container-toolkit|libnvidia-container)-(\d[\w.]*)")
_LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
                    "/usr/local/lib", "/usr/local/nvidia/toolkit", "/run/current-system/sw/lib")
_VERSION = re.compile(r"\bversion:? v?(\d+\.\d+\.\d+[\w.~-]*)")


class Packages(NamedTuple):
    """What the package manager has of containers: versions by package, and when each was installed."""

    versions: dict[str, str]
    installed_at: dict[str, str]

    def first(self, names: tuple[str, ...]) -> str | None:
        """Return the version of the first of these packages that is installed."""
        return next((self.versions[name] for name in names if name in self.versions), None)


@lru_cache(maxsize=1)
def read_packages(root: Root) -> Packages:
    """Read dpkg's records, or ask rpm for its own; empty where neither keeps records."""
    text = root.read(_STATUS, _STATUS_BYTES)
    if text:
        return _dpkg(root, text)
    if root.live and any(root.exists(folder) for folder in _RPM):
        return _rpm()
    return Packages({}, {})


def _dpkg(root: Root, text: str) -> Packages:
    versions: dict[str, str] = {}
    times: dict[str, str] = {}
    for name in (*TOOLKIT, *LIBRARY, *_COMPOSE, *_ENGINES):
        # The file has megabytes: only the stanzas asked for are taken apart.
        start = 0 if text.startswith(f"Package: {name}\n") else text.find(f"\nPackage: {name}\n") + 1
        if start == 0 and not text.startswith(f"Package: {name}\n"):
            continue
        end = text.find("\n\n", start)
        stanza = text[start : end if end > 0 else len(text)]
        fields = dict(line.partition(": ")[::2] for line in stanza.splitlines() if not line.startswith(" "))
        if fields.get("Status", "").endswith(" installed"):
            versions[name] = fields.get("Version", "").strip()[:100]
            for path in (f"{_INFO}/{name}.list", f"{_INFO}/{name}:{fields.get('Architecture', '')[:20]}.list"):
                if (status := root.stat(path)) is not None:
                    times[name] = _iso(status.st_mtime)
    return Packages(versions, times)


def _rpm() -> Packages:
    names = (*TOOLKIT, *LIBRARY, *_COMPOSE, *_ENGINES)
    try:
        _, output, _ = run("rpm", "-q", "--qf", "%{NAME} %{VERSION}-%{RELEASE} %{INSTALLTIME}\n", *names)
    except CommandMissing:
        return Packages({}, {})
    fields = [line.split() for line in output.splitlines()]
    found = [each for each in fields if len(each) == 3 and each[0] in names and each[2].isdigit()]
    return Packages({each[0]: each[1][:100] for each in found}, {each[0]: _iso(int(each[2])) for each in found})


def _iso(seconds: float) -> str:
    stamp = datetime.datetime.fromtimestamp(max(0, min(seconds, 1 << 33)), datetime.timezone.utc)
    return stamp.strftime("%Y-%m-%dT%H:%M:%SZ")


def toolkit_version(root: Root, packages: Packages, program: str | None) -> str | Unavailable | None:
    """Return the toolkit's version, None when it is not installed.

    Args:
        root: The file system.
        packages: The package manager's records.
        program: Where its own program ``nvidia-ctk``, or else its runtime, lies.
    """
    if (version := packages.first(TOOLKIT)) is not None:
        return version
    if program is None:
        return None
    real = real_path(root, program)
    if match := _STORE.search(real):
        return match[2]
    return _asked(root, real)


def _asked(root: Root, program: str) -> str | Unavailable:
    """Ask the program itself: no package brought it, and its version stands nowhere else."""
    name = os.path.basename(program)
    if not root.live or name not in ("nvidia-ctk", "nvidia-container-runtime", "nvidia-container-cli"):
        return Unavailable(f"no package brought {program}, and nothing on disk says its version", "not-supported")
    status = root.stat(program)
    if status is None or status.st_uid != 0 or status.st_mode & 0o022 or not program.startswith("/usr/"):
        return Unavailable(f"no package brought {program}; it is not run, for others than root may change it",
                           "not-supported")
    try:
        _, output, errors = run(name, "--version", limit=1 << 16)
    except CommandMissing:
        return Unavailable(f"{program} cannot be run", "error")
    match = _VERSION.search(output) or _VERSION.search(errors)
    return match[1][:100] if match else Unavailable(f"{program} --version says no version", "error")


def library_version(root: Root, packages: Packages) -> str | None:
    """Return the version of libnvidia-container, from its package, its file's name, or the Nix store."""
    if (version := packages.first(LIBRARY)) is not None:
        return version
    for folder in _LIBRARY_FOLDERS:
        for name in names_in(root, folder) if root.exists(f"{folder}/libnvidia-container.so.1") else ():
            if match := re.fullmatch(r"libnvidia-container\.so\.(\d+\.\d+\.\d+)", name):
                return match[1]
    program = "/run/current-system/sw/bin/nvidia-container-cli"
    match = _STORE.search(real_path(root, program)) if root.exists(program) else None
    return match[2] if match else None


def is_compose_v1(root: Root, path: str) -> bool:
    """True for Compose of Python's days: a Python script, or Docker's binary of it (made by PyInstaller)."""
    try:
        with open_regular(root, path) as file:
            head = file.read(0, 256).split(b"\n")[0]
            tail = file.read(max(0, file.size - 8192), 8192)
    except OSError:
        return False
    return (head.startswith(b"#!") and b"python" in head) or b"MEI\014\013\012\013\016" in tail
