"""Small bundles that stand for gpudoctor's own, and the installer's run."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
SCRIPT = CHECKOUT / "install.sh"

PROGRAM = """
import sys
VERSION = {version!r}
def main():
    if {starts} and sys.argv[1:] == ["--version"]:
        print("gpudoctor", VERSION)
    elif {starts} and sys.argv[1] == "check":
        print("judged by", VERSION)
        sys.exit(int(sys.argv[2]))
    else:
        sys.exit("broken")
"""


def sh(
    script: Path, *arguments: str | Path, path: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, **environment}
    settings.pop("VIRTUAL_ENV", None)
    settings["PATH"] = path if path is not None else os.environ["PATH"]
    command = ["/bin/sh", str(script), *map(str, arguments)]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, env=settings, check=False
    )


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def make_wheel(folder: Path, version: str, *, starts: bool = True) -> Path:
    """Make a wheel that stands for gpudoctor and needs nothing from an index."""
    info = f"gpudoctor-{version}.dist-info"
    files = {
        "gpudoctor.py": PROGRAM.format(version=version, starts=starts),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: gpudoctor\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ngpudoctor = gpudoctor:main\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text.encode())}\n"
    wheel = folder / f"gpudoctor-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return wheel


def write_sums(wheelhouse: Path) -> None:
    (wheelhouse / "SHA256SUMS").write_text(
        "".join(
            f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}\n"
            for wheel in sorted(wheelhouse.glob("*.whl"))
        )
    )


def make_bundle(folder: Path, version: str = "9.8.7", *, starts: bool = True) -> Path:
    """Make the folder that a release without network is: this script and a wheelhouse."""
    (folder / "wheelhouse").mkdir(parents=True)
    make_wheel(folder / "wheelhouse", version, starts=starts)
    write_sums(folder / "wheelhouse")
    shutil.copy(SCRIPT, folder)
    return folder / "install.sh"
