"""The program that proves from inside what arrives (``inside/proof.c``), and how it gets into a container.

It lies in a volume without a name that is filled before the start, as a read-only root can be by no other way, and
that goes with its container. So it runs in images without a shell, and from engines that do not see our files.
"""

import functools
import io
import platform
import tarfile
from pathlib import Path
from typing import Any

from gpudoctor.probes import live_script

FOLDER = "/.gpudoctor"
PROGRAM = f"{FOLDER}/proof"
MOUNT: dict[str, Any] = {"Type": "volume", "Target": FOLDER, "VolumeOptions": {"NoCopy": True}}


@functools.cache
def archive() -> bytes | None:
    """Return the program for this machine as a tar archive, None where there is none."""
    try:
        content = Path(__file__).with_name("inside").joinpath(f"proof.{platform.machine()}").read_bytes()
    except OSError:
        return None
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        entry = tarfile.TarInfo("proof")
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def command(mode: str) -> list[str]:
    """Return the command: where the image has no glibc in its place, a shell and Python are tried after it."""
    return [PROGRAM, mode, *live_script.shell_command(mode)]
