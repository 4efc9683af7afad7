"""The installed build of PyTorch: version.py parsed and never run, and the architectures in its libraries."""

import ast
import re
from collections.abc import Sequence

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.python_envs import TorchBuild
from gpudoctor.probes.elf import ElfError, read_elf
from gpudoctor.probes.env_binaries import Binaries
from gpudoctor.probes.regular_file import names_in, open_regular, read_text
from gpudoctor.probes.root import Root

_ARCH = rb"(?:sm_\d{2,3}[af]?|compute_\d{2,3}[af]?|gfx[0-9a-f]{3,5}(?::[a-z+:-]+)?)"
#: CUDA_ARCH_FLAGS as torch/csrc/cuda/Module.cpp compiles it in. A list may follow other text without a zero between
#: (compilers put the beginnings of long strings side by side); a single name counts only as a whole string.
_DECLARED = re.compile(rb"(" + _ARCH + rb"(?: " + _ARCH + rb")+)|\x00(" + _ARCH + rb")(?=\x00)")
_MAX_STRINGS = 96 << 20
_PIECE = 4 << 20
_OVERLAP = 4096


def torch_folder(root: Root, folders: Sequence[str]) -> str | None:
    """Return the folder of the torch that an import would find."""
    found = (f"{folder}/torch" for folder in folders)
    return next((path for path in found if root.exists(f"{path}/__init__.py") or root.exists(f"{path}/version.py")),
                None)


def read_torch(root: Root, binaries: Binaries, path: str, recorded: str | None) -> TorchBuild:
    """Read the build in a folder.

    Args:
        root: The file system.
        binaries: Scans of compiled files.
        path: The folder of the package.
        recorded: The version that the package's metadata says.
    """
    text = read_text(root, f"{path}/version.py", 1 << 16)
    said = parse_version_file(text) if text is not None else None
    if said is None:
        why = "is not there or cannot be read" if text is None else "is not as torch writes it"
        unknown = Unavailable(f"{path}/version.py {why}")
        return TorchBuild(version=recorded or "unknown", cuda=unknown, hip=unknown, path=path,
                          declared=declared(root, path), compiled=_compiled(root, binaries, path))
    cuda, hip = said.get("cuda"), said.get("hip") or said.get("rocm")
    nothing = Unavailable("a build for the CPU has no GPU code", "not-applicable")
    has_code = bool(cuda or hip)
    return TorchBuild(
        version=str(said.get("__version__") or recorded or "unknown"),
        cuda=cuda,
        hip=hip,
        git=said.get("git_version"),
        path=path,
        declared=declared(root, path) if has_code else nothing,
        compiled=_compiled(root, binaries, path) if cuda else nothing,
    )


def parse_version_file(text: str) -> dict[str, str | None] | None:
    """Read the constants of torch/version.py; None when it is no such file."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found: dict[str, str | None] = {}
    for node in tree.body:
        target: ast.expr | None = None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        if isinstance(target, ast.Name) and isinstance(node, ast.Assign | ast.AnnAssign):
            value = node.value
            if isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, str)):
                found[target.id] = value.value[:200] if value.value else None
    return found if "__version__" in found else None


def declared(root: Root, path: str) -> tuple[str, ...] | Unavailable:
    """Return the architectures that the build names in its own string."""
    name = f"{path}/lib/libtorch_python.so"
    try:
        with open_regular(root, name) as file:
            try:
                start, size = read_elf(file).sections.get(".rodata", (0, file.size))
            except ElfError:
                return Unavailable(f"{name} is no library, or cut short")
            found: set[bytes] = set()
            for at in range(start, start + min(size, _MAX_STRINGS), _PIECE):
                length = min(_PIECE + _OVERLAP, start + size - at)
                found.update(match[1] or match[2] for match in _DECLARED.finditer(file.read(at, length)))
    except PermissionError:
        return Unavailable(f"no permission to read {name}", "no-permission")
    except OSError as error:
        return Unavailable(f"{name}: {error.strerror or error}")
    longest = sorted(found, key=lambda text: text.count(b" "))[-2:]
    if not longest or (len(longest) == 2 and longest[0].count(b" ") == longest[1].count(b" ")):
        return Unavailable(f"{name} holds no list of architectures" if not longest else
                           f"{name} holds several lists of architectures", "not-supported")
    return tuple(longest[-1].decode().split()[:128])


def _compiled(root: Root, binaries: Binaries, path: str) -> tuple[str, ...] | Unavailable:
    # libtorch_cuda_linalg.so is left out: the library in it is compiled for GPUs that torch itself has dropped.
    names = [name for name in names_in(root, f"{path}/lib") if re.fullmatch(r"libtorch_cuda(?:_cu|_cpp)?\.so", name)]
    if not names:
        return Unavailable(f"{path}/lib has no libtorch_cuda.so")
    found: dict[str, None] = {}
    for name in names:
        scanned = binaries.arch_list(f"{path}/lib/{name}", root)
        if isinstance(scanned, Unavailable):
            return scanned
        found.update(dict.fromkeys(scanned))
    return tuple(sorted(found, key=_order))


def _order(name: str) -> tuple[bool, int, str]:
    number = re.search(r"\d+", name)
    return (not name.startswith("sm_"), int(number[0]) if number else 0, name)
