"""A container toolkit of doubles: the hook, the ``nvidia`` runtime and CDI specs, over the stand-in libraries."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rig import HERE, PYTHON
from rig_images import LIBRARIES
from standin import build, machine, missing_symbols

HOOK, RUNTIME = "nvidia-container-runtime-hook", "nvidia-container-runtime"
MACHINE_PLACE = "/etc/gpudoctor-standin.txt"
DRIVER = "535.247.01"
CTL = 255


class Toolkit:
    """The doubles in one folder. Put ``bin`` on an engine's PATH and the hook is there.

    A switch changes what they do from the next container on: ``toolkit.switch("skip-device-cgroup")``.
    """

    def __init__(self, folder: Path, name: str = "4x-quadro-rtx-8000", *lines: str) -> None:
        self.folder = folder
        self.text = machine(name, "nodes = /dev", *lines)
        count = int(re.findall(r"^count = (\d+)", self.text, re.M)[-1])
        self.uuids = [self._uuid(gpu) for gpu in range(count)]
        self.bin = folder / "bin"
        self.runtimes = folder / "runtimes"
        self.files = folder / "files"
        for place in (self.bin, self.runtimes, self.files, folder / "dev"):
            place.mkdir(parents=True)
        self.mounts = self._files()
        self._doubles()

    def _uuid(self, gpu: int) -> str:
        found = re.findall(rf"^gpu\.{gpu}\.uuid = (\S+)", self.text, re.M)
        return str(found[-1]) if found else f"GPU-00000000-0000-4000-8000-{gpu:012d}"

    def _files(self) -> dict[str, str]:
        """Build what is mounted into containers, and say where to."""
        (self.files / "machine.txt").write_text(self.text)
        smi = self.files / "nvidia-smi"
        subprocess.run(["gcc", "-O1", "-Wall", "-o", str(smi), str(HERE / "nvidia_smi.c")], check=True)
        mounts = {str(self.files / "machine.txt"): MACHINE_PLACE, str(smi): "/usr/bin/nvidia-smi"}
        missing = missing_symbols(self.text)
        for source, prefix, library in (("nvml", "nvml", "libnvidia-ml"), ("cuda", "cu", "libcuda")):
            built = build(source, tuple(name for name in missing if name.startswith(prefix))) / f"{library}.so.1"
            place = self.files / f"{library}.so.{DRIVER}"
            place.write_bytes(built.read_bytes())
            place.chmod(0o755)
            mounts[str(place)] = f"{LIBRARIES}/{library}.so.1"
        return mounts

    def _doubles(self) -> None:
        told = json.dumps({"uuids": self.uuids, "mounts": self.mounts, "here": str(HERE)})
        for place in (self.bin, self.runtimes):
            self._script(place / HOOK, "hook_double.py")
            (place / "double.json").write_text(told)
        self._script(self.runtimes / RUNTIME, "runtime_double.py")

    def _script(self, place: Path, source: str) -> None:
        place.write_text(f"#!{PYTHON} -ISB\n" + (HERE / source).read_text())
        place.chmod(0o755)

    def switch(self, name: str, content: str | None = "on") -> None:
        """Turn a switch of the doubles on, or off with None."""
        for place in (self.bin, self.runtimes):
            if content is None:
                (place / name).unlink(missing_ok=True)
            else:
                (place / name).write_text(content)

    @property
    def registration(self) -> dict[str, Any]:
        """What ``nvidia-ctk runtime configure`` writes into daemon.json."""
        return {"runtimes": {"nvidia": {"path": str(self.runtimes / RUNTIME), "runtimeArgs": []}}}

    def node(self, name: str, minor: int) -> str:
        """Make a device node in this folder and return its path; the host's /dev is left alone."""
        place = self.folder / "dev" / name
        if not place.exists():
            os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(195, minor))
            place.chmod(0o666)
        return str(place)

    def _edits(self, gpus: Sequence[int]) -> dict[str, Any]:
        return {
            "deviceNodes": [{"path": f"/dev/nvidia{gpu}", "hostPath": self.node(f"nvidia{gpu}", gpu)} for gpu in gpus]
        }

    def write_cdi(self, place: Path, *, driver: str = DRIVER) -> Path:
        """Write a CDI spec for all GPUs; one of another ``driver`` names libraries that are not there any more."""
        indices = range(len(self.uuids))
        devices = [
            *({"name": str(gpu), "containerEdits": self._edits([gpu])} for gpu in indices),
            *({"name": self.uuids[gpu], "containerEdits": self._edits([gpu])} for gpu in indices),
            {"name": "all", "containerEdits": self._edits(list(indices))},
        ]
        mounts = [
            {"hostPath": source.replace(DRIVER, driver), "containerPath": target, "options": ["ro", "bind"]}
            for source, target in self.mounts.items()
        ]
        control = {"path": "/dev/nvidiactl", "hostPath": self.node("nvidiactl", CTL)}
        place.parent.mkdir(parents=True, exist_ok=True)
        spec = {
            "cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": devices,
            "containerEdits": {"deviceNodes": [control], "mounts": mounts},
        }  # fmt: skip
        # Renamed into place, so that an engine that watches the folder reads it whole.
        half = place.with_suffix(".half")
        half.write_text(json.dumps(spec, indent=1))
        half.rename(place)
        return place
