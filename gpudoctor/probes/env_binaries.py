"""Compiled files of an environment: CUDA libraries, extensions with GPU code, and what the loader would give them."""

import contextlib
import csv
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda_libraries import CudaLibrary, LoaderChoice
from gpudoctor.facts.python_envs import ENGINES, Extension, PythonPackage
from gpudoctor.probes.cuda_names import WHEELS, cuda_only, is_cuda, library_of, version_of
from gpudoctor.probes.elf import Elf
from gpudoctor.probes.env_packages import MODULES, Record
from gpudoctor.probes.fatbin import FatbinTimeout, Scan, scan
from gpudoctor.probes.loader import Loader, headers
from gpudoctor.probes.regular_file import folders_in, names_in, open_regular, read_text, real_path
from gpudoctor.probes.root import Root

#: Packages whose compiled files are looked into, besides engines.
_SCANNED = (
    "flash-attn", "flash-attn-3", "xformers", "bitsandbytes", "sgl-kernel", "sglang-kernel", "flashinfer-jit-cache",
    "torchvision", "exllamav2", "auto-gptq", "gptqmodel", "autoawq",
)
#: torch's own files that ask for CUDA, in the order in which ``import torch`` loads them.
_TORCH_FILES = ("libtorch_global_deps.so", "libc10_cuda.so", "libtorch_cuda.so", "libcaffe2_nvrtc.so")
_LIBRARY_FOLDERS = ("torch/lib", "tensorrt_libs", "cusparselt/lib", "cutensor/lib")
_RECORD_BYTES = 32 << 20
_MAX_PER_PACKAGE = 48
_MAX_EXTENSIONS = 256
_MAX_LIBRARIES = 512
_SECONDS_PER_FILE = 4.0
_SECONDS_IN_ALL = 12.0


class Binaries:
    """Scans of compiled files, each file once however many environments link to it, in a bounded time.

    Args:
        root: The file system.
        seconds: For all of them together.
    """

    def __init__(self, root: Root, seconds: float = _SECONDS_IN_ALL) -> None:
        self.root = root
        #: Called with each path before it is opened: a slow disk must not look like a dead one.
        self.tell: Callable[[str], None] = lambda path: None
        self._deadline = time.monotonic() + seconds
        self._known: dict[tuple[int, ...], Scan] = {}

    def scan(self, path: str, root: Root | None = None) -> Scan | Unavailable:
        """Return what a file's CUDA code was compiled for, or why that is not known."""
        self.tell(path)
        try:
            with open_regular(root or self.root, path) as file:
                if file.identity not in self._known:
                    left = self._deadline - time.monotonic()
                    if left <= 0:
                        return Unavailable("the time for looking into compiled files was used up", "timeout")
                    self._known[file.identity] = scan(file, min(left, _SECONDS_PER_FILE))
                return self._known[file.identity]
        except FatbinTimeout as error:
            return Unavailable(str(error), "timeout")
        except PermissionError:
            return Unavailable(f"no permission to read {path}", "no-permission")
        except OSError as error:
            return Unavailable(f"{path}: {error.strerror or error}", "error")

    def arch_list(self, path: str, root: Root | None = None) -> tuple[str, ...] | Unavailable:
        """Return the architectures of a file's CUDA code, without those of single kernels."""
        found = self.scan(path, root)
        return found if isinstance(found, Unavailable) else found.arch_list[:128]


def cuda_libraries(
    root: Root, folders: Sequence[str], conda_prefix: str | None, packages: Mapping[str, PythonPackage]
) -> tuple[CudaLibrary, ...]:
    """Return the CUDA libraries that an environment brings, wheels first."""
    found: list[CudaLibrary] = []
    for folder in folders:
        places = [f"{folder}/nvidia/{name}/lib" for name in folders_in(root, f"{folder}/nvidia")]
        places += [f"{folder}/{name}" for name in _LIBRARY_FOLDERS]
        places += [f"{folder}/{name}" for name in names_in(root, folder) if name.endswith(".libs")]
        for place in places:
            found += libraries_in(root, place, "wheel")
    if conda_prefix is not None:
        targets = [f"{conda_prefix}/targets/{name}/lib" for name in folders_in(root, f"{conda_prefix}/targets")]
        for place in (f"{conda_prefix}/lib", *targets):
            found += libraries_in(root, place, "conda")
    unique = {real_path(root, each.path): each for each in reversed(found)}
    kept = [each for each in found if unique.get(real_path(root, each.path)) is each]
    return tuple(_with_package(each, packages) for each in kept[:_MAX_LIBRARIES])


def libraries_in(root: Root, folder: str, origin: str) -> list[CudaLibrary]:
    """Return the CUDA libraries in one folder: each file once, under its soname."""
    names: dict[str, list[str]] = {}
    for name in names_in(root, folder):
        if is_cuda(name):
            path = f"{folder}/{name}"
            if root.exists(path):
                names.setdefault(real_path(root, path), []).append(name)
    found: list[CudaLibrary] = []
    for real, given in names.items():
        # libcublas.so.12 between libcublas.so and libcublas.so.12.8.4.1; libcudart.so.11.0 is a soname, too.
        numbered = sorted((name for name in given if ".so." in name), key=len)
        soname = numbered[0] if numbered else given[0]
        file = real.rpartition("/")[2]
        found.append(CudaLibrary(soname=soname, path=f"{folder}/{soname}", origin=origin, version=version_of(file)))
    return found


def _with_package(library: CudaLibrary, packages: Mapping[str, PythonPackage]) -> CudaLibrary:
    if library.origin != "wheel" or "/nvidia/" not in library.path:
        return library
    base = WHEELS.get(library_of(library.soname) or "", "")
    tries = [f"{base}-cu{library.major}", base, *(f"{base}-cu{major}" for major in (13, 12, 11))]
    if "/nvidia/cu13/" in library.path:
        tries = [base, f"{base}-cu13"]
    package = next((packages[name] for name in tries if name in packages), None)
    if package is None:
        return library
    return CudaLibrary(soname=library.soname, path=library.path, origin="wheel", package=package.name,
                       version=package.version or library.version)


def nvcc_in(root: Root, folders: Sequence[str], prefix: str) -> str | None:
    """Return the CUDA compiler inside an environment: conda's, or a wheel's."""
    places = [f"{prefix}/bin/nvcc"]
    for folder in folders:
        places += [f"{folder}/nvidia/{name}/bin/nvcc" for name in folders_in(root, f"{folder}/nvidia")]
    return next((path for path in places if root.exists(path)), None)


class _Compiled(NamedTuple):
    extension: Extension
    path: str
    elf: Elf


def extensions(
    root: Root, binaries: Binaries, folders: Sequence[str], packages: Sequence[PythonPackage],
    records: Mapping[str, Record],
) -> list[_Compiled]:
    """Return the compiled files of engines and kernel packages that have GPU code or ask for CUDA's libraries."""
    found: list[_Compiled] = []
    for package in packages:
        if package.name not in _SCANNED and package.name not in ENGINES:
            continue
        taken = 0
        for base, name in _compiled_files(root, folders, package, records.get(package.name)):
            elf = headers(root, f"{base}/{name}")
            if elf is None:
                continue
            needs = cuda_only(elf.needed)
            code = binaries.scan(f"{base}/{name}", root)
            arch_list, few = (code, ()) if isinstance(code, Unavailable) else (code.arch_list[:128], code.few[:128])
            if needs or few or isinstance(arch_list, Unavailable) or arch_list:
                extension = Extension(package=package.name, path=name, needs=needs[:64], arch_list=arch_list, few=few)
                found.append(_Compiled(extension, f"{base}/{name}", elf))
            taken += 1
            if taken == _MAX_PER_PACKAGE or len(found) == _MAX_EXTENSIONS:
                break
    return found[:_MAX_EXTENSIONS]


def _compiled_files(
    root: Root, folders: Sequence[str], package: PythonPackage, record: Record | None
) -> Iterator[tuple[str, str]]:
    """Yield (folder, path in it) of a package's shared libraries: by its RECORD, else by looking."""
    module = MODULES.get(package.name, package.name.replace("-", "_"))
    if package.editable and package.source:
        for name in _walk(root, package.source, module):
            yield package.source, name
        return
    if record is not None:
        text = read_text(root, f"{record.folder}/{record.info}/RECORD", _RECORD_BYTES)
        if text:
            for name in recorded_libraries(text):
                yield record.folder, name
            return
    for folder in folders:
        for name in _walk(root, folder, module):
            yield folder, name


def recorded_libraries(text: str) -> list[str]:
    """Return the shared libraries that a RECORD lists inside the folder of packages."""
    found: list[str] = []
    # Reading it all as CSV would take most of the time of a probe.
    for line in text.splitlines():
        if ".so" not in line:
            continue
        with contextlib.suppress(csv.Error, StopIteration, IndexError):
            name = next(csv.reader([line]))[0]
            if re.search(r"\.so(?:\.\d+)*$", name) and not name.startswith("/") and ".." not in name.split("/"):
                found.append(name)
    return found[:1000]


def _walk(root: Root, folder: str, module: str, depth: int = 3) -> Iterator[str]:
    names = names_in(root, f"{folder}/{module}", 2000)
    yield from (f"{module}/{name}" for name in names if ".so" in name)
    if depth:
        for name in folders_in(root, f"{folder}/{module}", 100):
            if not os.path.islink(root.path(f"{folder}/{module}") / name):
                yield from _walk(root, folder, f"{module}/{name}", depth - 1)


def loader_choices(
    loader: Loader, rpath: Sequence[str], torch: str | None, cuda: str | None, compiled: Sequence[_Compiled],
    libraries: Sequence[CudaLibrary],
) -> tuple[LoaderChoice, ...]:
    """Say what the loader would give to torch's files, then to the extensions, which come after ``import torch``.

    Args:
        loader: The search.
        rpath: DT_RPATH of the interpreter, expanded.
        torch: The folder of torch, None without it.
        cuda: The CUDA that torch was built for, by which bitsandbytes chooses among its files.
        compiled: The extensions.
        libraries: What the environment brings.
    """
    root = loader.root
    own: dict[str, str] = {}
    for library in libraries:
        own.setdefault(library.soname, library.path)
    real = {real_path(root, path): path for path in own.values()}
    chosen: dict[str, LoaderChoice] = {}
    found: list[LoaderChoice] = []

    def choose(soname: str, wanted_by: str, path: str, elf: Elf, is_torch: bool) -> None:
        before = chosen.get(soname)
        if before is not None:
            if not is_torch:
                found.append(LoaderChoice(soname=soname, wanted_by=wanted_by, via="already-loaded", path=before.path,
                                          bundled=own.get(soname)))
            return
        taken, via = loader.find(soname, elf, path, rpath)
        if taken is None and is_torch and soname in own:
            taken, via = own[soname], "preloaded"
        if taken is not None:
            taken = real.get(real_path(root, taken), taken)
        choice = LoaderChoice(soname=soname, wanted_by=wanted_by, via=via, path=taken, bundled=own.get(soname))
        found.append(choice)
        if taken is not None:
            chosen[soname] = choice

    if torch is not None:
        for name in _TORCH_FILES:
            elf = headers(root, f"{torch}/lib/{name}")
            for soname in cuda_only(elf.needed) if elf else ():
                assert elf is not None
                choose(soname, f"torch/lib/{name}", f"{torch}/lib/{name}", elf, True)
    for each in compiled:
        if each.extension.package == "bitsandbytes" and f"_cuda{(cuda or 'none').replace('.', '')}." not in each.path:
            continue
        for soname in each.extension.needs:
            choose(soname, each.extension.path, each.path, each.elf, False)
    return tuple(found[:512])
