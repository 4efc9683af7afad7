"""Host compilers: gcc and clang, with their versions."""

import re
from collections.abc import Iterator

from gpudoctor.facts.toolkits import Compiler
from gpudoctor.probes.command import SYSTEM_PATH, CommandMissing, run
from gpudoctor.probes.regular_file import folders_in, names_in
from gpudoctor.probes.root import Root

_NAME = re.compile(r"(gcc|g\+\+|clang|clang\+\+)(?:-(\d{1,2}(?:\.\d+)?))?$")
_NUMBER = re.compile(r"\b(\d+\.\d+\.\d+|\d+\.\d+|\d+)\b")
_SYSTEM = ("/usr/local/bin", "/usr/bin")
_TOOLSETS = "/opt/rh/*/root/usr/bin"
_MAX_COMPILERS = 48


def find_compilers(root: Root) -> Iterator[tuple[str, str]]:
    """Yield (plain name, path) of every compiler in the system's folders and in Red Hat's toolsets."""
    count = 0
    for folder in (*_SYSTEM, *root.glob(_TOOLSETS)):
        for name in names_in(root, folder):
            match = _NAME.fullmatch(name)
            if match and root.exists(f"{folder}/{name}"):
                yield match[1], f"{folder}/{name}"
                count += 1
                if count == _MAX_COMPILERS:
                    return


def read_compiler(root: Root, name: str, path: str) -> Compiler:
    """Ask a system compiler for its version; elsewhere, and under a prefix, read it from names alone."""
    file = path.rpartition("/")[2]
    default = file == name and path.rpartition("/")[0] in _SYSTEM
    version: str | None = None
    if root.live and path.rpartition("/")[0] in SYSTEM_PATH.split(":"):
        try:
            code, output, _ = run(file, "-dumpfullversion", "-dumpversion")
            if code != 0 or name.startswith("clang"):
                code, output, _ = run(file, "--version")
        except (CommandMissing, OSError) as error:
            return Compiler(name=name, path=path, default=default, failure=f"it cannot be run: {error}"[:200])
        match = _NUMBER.search(output.partition("\n")[0])
        version = match[1] if match and code == 0 else None
    if version is None:
        version = _version_by_name(root, name, path)
    return Compiler(name=name, path=path, version=version, default=default)


def _version_by_name(root: Root, name: str, path: str) -> str | None:
    real = root.readlink(path) or path
    for text in (path, real, real.rpartition("/")[2]):
        match = re.search(r"-(\d{1,2}(?:\.\d+)?)$", text) or re.search(r"/gcc-toolset-(\d+)/", text)
        if match:
            return match[1]
    if name.startswith("clang"):
        return None
    installed = [number for machine in folders_in(root, "/usr/lib/gcc")
                 for number in folders_in(root, f"/usr/lib/gcc/{machine}") if number[0].isdigit()]
    return installed[0] if len(installed) == 1 else None
