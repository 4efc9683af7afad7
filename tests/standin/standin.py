"""Builds stand-in driver libraries from C and says where they are. By hand:

python tests/standin/standin.py FOLDER 4x-quadro-rtx-8000 ["gpu.2.temperature = 91" ...]
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARIES = {"nvml": "libnvidia-ml.so.1", "cuda": "libcuda.so.1"}
WEDGED = "gpu.3.hang.nvmlDeviceGetTemperature = 1"
"""The line that makes GPU 3 hang at its thermometer."""


def machine(name: str, *lines: str) -> str:
    """Return a machine's text with lines of one's own after it, which win."""
    return "\n".join([(HERE / "machines" / f"{name}.txt").read_text(), *lines, ""])


def missing_symbols(text: str) -> tuple[str, ...]:
    keys = (line.partition("=")[0].strip() for line in text.splitlines())
    return tuple(sorted({key.removeprefix("missing.") for key in keys if key.startswith("missing.")}))


def compiler() -> str | None:
    return shutil.which("gcc") or shutil.which("cc")


@functools.cache
def _cache() -> Path:
    folder = tempfile.mkdtemp(prefix="gpudoctor-standin-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def build(source: str, missing: tuple[str, ...], other: str | None = None) -> Path:
    """Return a folder with one library, built at most once for each set of missing symbols and each compiler."""
    gcc = other or compiler()
    if gcc is None:
        raise RuntimeError("no C compiler here")
    return _built(source, missing, gcc)


@functools.cache
def _built(source: str, missing: tuple[str, ...], gcc: str) -> Path:
    key = hashlib.sha256(" ".join((gcc, *missing)).encode()).hexdigest()[:12]
    folder = _cache() / f"{source}-{key}"
    folder.mkdir()
    hidden = folder / "hidden"
    hidden.write_text("{ global: *; local: " + " ".join(f"{name};" for name in ("_none", *missing)) + " };\n")
    library = LIBRARIES[source]
    command = [
        gcc, "-O1", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden", f"-Wl,-soname,{library}",
        f"-Wl,--version-script={hidden}", "-o", str(folder / library), str(HERE / f"{source}.c"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise RuntimeError(done.stderr)
    return folder


def stand_in(
    folder: Path, text: str, sources: tuple[str, ...] = ("nvml",), compiler: str | None = None
) -> dict[str, str]:
    """Write the machine into ``folder`` and return the environment that makes programs see it."""
    described = folder / "machine.txt"
    described.write_text(text)
    missing = missing_symbols(text)
    places = [str(build(source, tuple(m for m in missing if m.startswith(PREFIX[source])), compiler))
              for source in sources]
    return {"LD_LIBRARY_PATH": ":".join(places), "GPUDOCTOR_STANDIN_NVML": str(described),
            "GPUDOCTOR_STANDIN_CUDA": str(described)}  # fmt: skip


PREFIX = {"nvml": "nvml", "cuda": "cu"}


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    place.mkdir(parents=True, exist_ok=True)
    scripted = machine(*sys.argv[2:])
    for name, value in stand_in(place, scripted, ("nvml", "cuda")).items():
        if name == "LD_LIBRARY_PATH":
            for built in value.split(":"):
                shutil.copytree(built, place, dirs_exist_ok=True)
            value = str(place)
        sys.stdout.write(f"export {name}={value}\n")
