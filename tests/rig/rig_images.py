"""Images made of this system's own files: no registry is asked, and nothing is pulled."""

from __future__ import annotations

import functools
import io
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TRIPLE = f"{platform.machine()}-linux-gnu"
LIBRARIES = f"/usr/lib/{TRIPLE}"

GLIBC = "rig/glibc:1"
"""A shell, a few programs and glibc: what most images have."""
BUSYBOX = "rig/busybox:1"
"""A static busybox: a shell, but no C library for the driver's libraries."""
EMPTY = "rig/empty:1"
"""One static program that waits: no shell, nothing."""
NO_SHELL = "rig/no-shell:1"
"""glibc and its loader, and one static program that waits: what images without a distribution have."""
PYTHON = "rig/python:1"
"""As glibc, with this interpreter as ``python3``."""

PROGRAMS = ("sh", "cat", "ls", "dd", "sleep", "stat", "id", "env")
MODULES = "import ctypes, encodings.idna, json, os, re, signal, struct, sys, time, traceback"


def libraries(program: Path) -> list[Path]:
    """Return the shared libraries of a program, as its loader finds them."""
    told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return [Path(name) for name in re.findall(r"(/\S+) \(0x", told)]


class Tree:
    """A root file system in the making, as a tar archive."""

    def __init__(self) -> None:
        self.data = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.data, mode="w")  # noqa: SIM115
        self.known: set[str] = set()

    def _new(self, name: str) -> bool:
        known = name in self.known
        self.known.add(name)
        return not known

    def folder(self, name: str, mode: int = 0o755) -> None:
        if name in ("", ".", "/") or not self._new(name):
            return
        self.folder(str(Path(name).parent))
        entry = tarfile.TarInfo(name.lstrip("/"))
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self.tar.addfile(entry)

    def link(self, name: str, target: str) -> None:
        if self._new(name):
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            self.tar.addfile(entry)

    def file(self, name: str, content: bytes, mode: int = 0o755) -> None:
        if not self._new(name):
            return
        self.folder(str(Path(name).parent))
        entry = tarfile.TarInfo(name.lstrip("/"))
        entry.size, entry.mode = len(content), mode
        self.tar.addfile(entry, io.BytesIO(content))

    def program(self, source: Path, name: str) -> None:
        """Add a program and what its loader needs, the loader in its expected place."""
        self.file(name, source.read_bytes())
        for library in libraries(source):
            place = f"/usr/lib64/{library.name}" if library.name.startswith("ld-linux-x86") else LIBRARIES
            self.file(place if "." in Path(place).name else f"{LIBRARIES}/{library.name}", library.read_bytes())

    def bytes(self) -> bytes:
        self.tar.close()
        return self.data.getvalue()


def skeleton() -> Tree:
    tree = Tree()
    for name in ("/usr/bin", "/usr/lib64", LIBRARIES, "/etc", "/proc", "/sys", "/dev"):
        tree.folder(name)
    tree.folder("/tmp", 0o1777)
    for name in ("bin", "lib", "lib64"):
        tree.link(f"/{name}", f"usr/{name}")
    tree.file("/etc/passwd", b"root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n", 0o644)
    return tree


def with_programs(tree: Tree) -> Tree:
    for name in PROGRAMS:
        tree.program(Path(shutil.which(name) or f"/bin/{name}").resolve(), f"/usr/bin/{name}")
    return with_libraries(tree)


def with_libraries(tree: Tree) -> Tree:
    """Add what the stand-ins for the driver's libraries and tools are linked with, and the loader."""
    for library in ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"):
        found = next((place for place in (Path(LIBRARIES), Path(f"/lib/{TRIPLE}")) if (place / library).exists()), None)
        if found is not None:
            tree.file(f"{LIBRARIES}/{library}", (found / library).read_bytes())
    for loader in (each for each in libraries(Path(sys.executable).resolve()) if each.name.startswith("ld-linux-x86")):
        tree.file(f"/usr/lib64/{loader.name}", loader.read_bytes())
    return tree


def with_python(tree: Tree) -> Tree:
    """Add this interpreter with the modules that a small program needs."""
    told = f"{MODULES}\nfor m in list(sys.modules.values()): print(getattr(m, '__file__', None) or '')"
    python = Path(sys.executable).resolve()
    names = subprocess.run([str(python), "-I", "-S", "-c", told], capture_output=True, text=True, check=True).stdout
    tree.program(python, str(python))
    for name in filter(None, names.splitlines()):
        source = Path(name)
        tree.file(name, source.read_bytes())
        if source.suffix == ".so":
            for library in libraries(source):
                tree.file(f"{LIBRARIES}/{library.name}", library.read_bytes())
    tree.link("/usr/bin/python3", str(python))
    return tree


def static(source: str) -> bytes:
    """Compile one of this folder's C programs statically."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "program"
        subprocess.run(["gcc", "-O1", "-static", "-o", str(built), str(HERE / source)], check=True)
        return built.read_bytes()


@functools.cache
def archive(name: str) -> bytes:
    """Return the tar archive of one image's root."""
    if name == EMPTY:
        tree = Tree()
        tree.file("/wait", static("wait.c"))
        tree.folder(LIBRARIES)
        return tree.bytes()
    tree = skeleton()
    if name == NO_SHELL:
        with_libraries(tree)
        tree.file("/wait", static("wait.c"))
    elif name == BUSYBOX:
        tree.file("/usr/bin/busybox", Path("/bin/busybox").read_bytes())
        for program in (*PROGRAMS, "true", "echo", "test", "["):
            tree.link(f"/usr/bin/{program}", "busybox")
    else:
        with_programs(tree)
    return (with_python(tree) if name == PYTHON else tree).bytes()


def load(client: Any, names: Iterable[str] = (GLIBC,)) -> None:
    """Give an engine these images."""
    for name in names:
        repository, _, tag = name.partition(":")
        client.api.import_image_from_data(
            archive(name), repository=repository, tag=tag, changes=["ENV PATH=/usr/bin:/bin"]
        )
