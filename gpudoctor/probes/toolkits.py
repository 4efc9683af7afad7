"""CUDA toolkits, compilers and system-wide CUDA libraries, from files."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda_libraries import CudaLibrary
from gpudoctor.facts.toolkits import CompatLibrary, Compiler, LibraryPathFolder, Toolkit
from gpudoctor.probes.compilers import find_compilers, read_compiler
from gpudoctor.probes.cuda_names import is_cuda, version_of
from gpudoctor.probes.driver_libraries import folders_of
from gpudoctor.probes.env_binaries import libraries_in
from gpudoctor.probes.loader import DEFAULT_FOLDERS, read_cache
from gpudoctor.probes.places import Places
from gpudoctor.probes.regular_file import folders_in, names_in, read_text, real_path
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("toolkits",)
OPTIONS: tuple[str, ...] = ()

#: What FlashInfer, Triton and torch's own extensions include when they compile at run time.
HEADERS = ("cuda.h", "cuda_runtime.h", "cuda_fp16.h", "nvrtc.h", "cublas_v2.h", "curand_kernel.h", "cub/cub.cuh")
_PLACES = (
    ("local", "/usr/local/cuda*"), ("local", "/opt/cuda*"), ("local", "/opt/nvidia/cuda*"),
    ("hpc-sdk", "/opt/nvidia/hpc_sdk/*/*/cuda/[0-9]*"), ("distribution", "/usr/lib/nvidia-cuda-toolkit"),
    ("distribution", "/usr/lib/cuda"),
)
_COMPAT = ("/usr/local/cuda*/compat", "/usr/local/cuda*/compat/lib", "/opt/cuda*/compat", "/usr/lib/*/cuda-compat")
_LIBCUDA = re.compile(r"libcuda\.so\.(\d{3}\.\d+(?:\.\d+)?)$")
_CUDA_VERSION = re.compile(r"^#define\s+CUDA_VERSION\s+(\d+)", re.MULTILINE)
_IN_NAME = re.compile(r"cuda-?(\d+\.\d+(?:\.\d+)?)$|/cuda/(\d+\.\d+)$")
_MAX_TOOLKITS = 64
_MAX_LIBRARIES = 1024


def probe(out: Reporter, root: Root) -> None:
    """Fill ``toolkits``. Folders of ``LD_LIBRARY_PATH`` and compilers can hang: each is an item of its own."""
    environment: Mapping[str, str] = os.environ if root.live else {}
    there = Unavailable("another machine's variables are not here", "not-applicable")
    places = Places(out, root)
    on_path = [folder for folder in environment.get("PATH", "").split(":")[:100] if folder.startswith("/")]
    # One by one: each is announced right before it is touched.
    nvcc = nvcc_on_path(folder for folder in on_path if places.enter(folder))
    variables = [environment.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    home = next((value for value in variables if value), None)
    found = read_toolkits(root, nvcc, home, environment.get("CONDA_PREFIX"), places)
    folders = folders_of(environment.get("LD_LIBRARY_PATH", ""))
    # Not the whole section: its other lists keep what stands in for an item that an earlier child was lost in.
    out.set(
        "toolkits",
        toolkits=found,
        nvcc_on_path=nvcc if root.live else there,
        cuda_home=home if root.live else there,
        libraries=system_libraries(root),
        compat=compat_libraries(root, folders),
        python_headers=sorted(
            path.split("/")[3].removeprefix("python") for path in root.glob("/usr/include/python3*/Python.h")),
    )
    for folder in folders:
        item = f"LD_LIBRARY_PATH folder {folder}"
        if not out.left_out(item):
            out.start(item, section="toolkits", field="library_path", placeholder=LibraryPathFolder(path=folder),
                      promised=True)
            out.append("toolkits", "library_path", _folder(root, folder))
    for name, path in find_compilers(root):
        item = f"compiler {path}"
        if not out.left_out(item):
            out.start(item, section="toolkits", field="compilers", placeholder=Compiler(name=name, path=path),
                      promised=True)
            out.append("toolkits", "compilers", read_compiler(root, name, path))


def nvcc_on_path(folders: Iterable[str]) -> str | None:
    """Return the compiler that ``nvcc`` starts for this user, None when it is in no folder of PATH."""
    for folder in folders:
        path = f"{folder}/nvcc"
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def compiler_behind(root: Root, nvcc: str) -> str:
    """Follow links, and the script that distributions put in the compiler's place."""
    real = real_path(root, nvcc)
    text = read_text(root, real, 4096) or ""
    match = re.search(r"^\s*exec\s+[\"']?(/[^\s\"']+/bin/nvcc)\b", text, re.MULTILINE) if text[:2] == "#!" else None
    return real_path(root, match[1]) if match else real


def read_toolkits(
    root: Root, nvcc: str | None, home: str | None, conda: str | None, places: Places
) -> tuple[Toolkit, ...]:
    """Find toolkits in the usual places, and where variables and PATH lead; newest version first."""
    names: dict[str, list[tuple[str, str]]] = {}
    for origin, path in _candidates(root, nvcc, home, conda, places):
        if root.exists(path):
            names.setdefault(real_path(root, path), []).append((origin, path))
    found = []
    for real, given in list(names.items())[:_MAX_TOOLKITS]:
        toolkit = _toolkit(root, real, given, compiler_behind(root, nvcc) if nvcc else None)
        if toolkit is not None:
            found.append(toolkit)
    return tuple(sorted(found, key=lambda each: _numbers(each.version), reverse=True))


def _candidates(
    root: Root, nvcc: str | None, home: str | None, conda: str | None, places: Places
) -> Iterator[tuple[str, str]]:
    for origin, pattern in _PLACES:
        if places.enter(f"/{pattern.split('/')[1]}"):
            for path in root.glob(pattern):
                yield origin, path
    if root.exists("/usr/bin/nvcc") and real_path(root, "/usr/bin/nvcc").startswith("/usr/bin/"):
        yield "distribution", "/usr"
    if home and home.startswith("/") and places.enter(home):
        yield "variable", home.rstrip("/") or "/"
    if conda and conda.startswith("/") and places.enter(conda) and root.exists(f"{conda}/bin/nvcc"):
        yield "conda", conda
    if nvcc is not None:
        place = compiler_behind(root, nvcc).rpartition("/bin/")[0]
        yield ("conda" if root.exists(f"{place}/conda-meta") else "local"), place or "/usr"


def _toolkit(root: Root, real: str, given: list[tuple[str, str]], nvcc_on_path: str | None) -> Toolkit | None:
    path = next((name for _, name in given if name == real), given[0][1])
    # Headers lie beside, and under targets/ in packages of conda and newer toolkits.
    includes = [f"{path}/include", *(f"{path}/targets/{name}/include" for name in folders_in(root, f"{path}/targets"))]
    if path in ("/usr/lib/nvidia-cuda-toolkit", "/usr/lib/cuda"):
        includes.append("/usr/include")
    nvcc = f"{path}/bin/nvcc" if root.exists(f"{path}/bin/nvcc") else None
    headers = tuple(name for name in HEADERS if any(root.exists(f"{place}/{name}") for place in includes))
    nvrtc = _nvrtc(root, path)
    if nvcc is None and not headers and nvrtc is None and not _has_cudart(root, path):
        return None
    return Toolkit(
        path=path,
        version=_version(root, path, real, includes),
        origin=given[0][0],
        names=tuple(dict.fromkeys(name for _, name in given if name != path)),
        nvcc=nvcc,
        nvcc_on_path=nvcc is not None and real_path(root, nvcc) == nvcc_on_path,
        nvrtc=nvrtc,
        headers=headers,
    )


def _library_folders(root: Root, path: str) -> list[str]:
    places = [f"{path}/lib64", f"{path}/lib"]
    places += [f"{path}/targets/{name}/lib" for name in folders_in(root, f"{path}/targets")]
    return places if path != "/usr" else list(DEFAULT_FOLDERS)


def _nvrtc(root: Root, path: str) -> str | None:
    for folder in _library_folders(root, path):
        for name in names_in(root, folder):
            if re.fullmatch(r"libnvrtc\.so\.\d+(?:\.\d)?", name):
                return f"{folder}/{name}"
    return None


def _has_cudart(root: Root, path: str) -> bool:
    return any(name.startswith("libcudart.so") for folder in _library_folders(root, path)
               for name in names_in(root, folder))


def _version(root: Root, path: str, real: str, includes: list[str]) -> str | None:
    try:
        told = json.loads(read_text(root, f"{path}/version.json", 1 << 16) or "{}")
        version = told.get("cuda", {}).get("version")
        if isinstance(version, str) and re.fullmatch(r"\d+\.\d+(?:\.\d+)*", version):
            return version
    except (ValueError, AttributeError, RecursionError):
        pass
    match = re.search(r"CUDA Version (\d+\.\d+(?:\.\d+)?)", read_text(root, f"{path}/version.txt", 4096) or "")
    if match:
        return match[1]
    for place in includes:
        header = _CUDA_VERSION.search(read_text(root, f"{place}/cuda.h", 4 << 20) or "")
        if header:
            number = int(header[1])
            return f"{number // 1000}.{number % 1000 // 10}"
    name = _IN_NAME.search(real) or _IN_NAME.search(path)
    return (name[1] or name[2]) if name else None


def system_libraries(root: Root) -> tuple[CudaLibrary, ...]:
    """Return the CUDA libraries that the loader finds without any variable: its cache, then the default folders."""
    found: dict[str, CudaLibrary] = {}
    for soname, paths in read_cache(root).items():
        for path in paths:
            if is_cuda(soname) and root.exists(path):
                real = real_path(root, path)
                version = version_of(real.rpartition("/")[2])
                found.setdefault(real, CudaLibrary(soname=soname, path=path, origin=origin_of(real), version=version))
    for folder in dict.fromkeys(real_path(root, each) for each in DEFAULT_FOLDERS):
        for library in libraries_in(root, folder, "system"):
            found.setdefault(real_path(root, library.path), library)
    # The link without a number is for linkers, not for the loader.
    numbered = [each for each in found.values() if ".so." in each.soname]
    return tuple(numbered[:_MAX_LIBRARIES])


def origin_of(path: str) -> str:
    """Say whose a library is, by where it lies."""
    if "/site-packages/" in path or "/dist-packages/" in path:
        return "wheel"
    if re.search(r"/(?:mini|ana)?conda\d*/|/mamba|/miniforge", path):
        return "conda"
    if "/cuda" in path or "/hpc_sdk/" in path:
        return "toolkit"
    return "system" if path.startswith(("/usr/lib", "/lib")) else "other"


def compat_libraries(root: Root, folders: tuple[str, ...]) -> tuple[CompatLibrary, ...]:
    """Find forward-compatibility copies of libcuda, and say how a program would come upon each."""
    cached = {real_path(root, path) for path in read_cache(root).get("libcuda.so.1", ())}
    on_path = {real_path(root, folder) for folder in folders}
    places = [path for pattern in _COMPAT for path in root.glob(pattern)]
    places += [folder for folder in folders if "compat" in folder]
    found: dict[str, CompatLibrary] = {}
    for place in places:
        if not root.exists(f"{place}/libcuda.so.1"):
            continue
        real = real_path(root, f"{place}/libcuda.so.1")
        match = _LIBCUDA.search(real)
        reached = "ld-library-path" if real_path(root, place) in on_path else "loader-cache" if real in cached else None
        found.setdefault(real, CompatLibrary(path=f"{place}/libcuda.so.1", version=match[1] if match else None,
                                             reached=reached))
    return tuple(found.values())[:64]


def _folder(root: Root, folder: str) -> LibraryPathFolder:
    if not root.exists(folder):
        return LibraryPathFolder(path=folder, exists=False)
    try:
        root.list(folder)
    except PermissionError:
        return LibraryPathFolder(path=folder, exists=True, failure="no permission to list it")
    libraries = libraries_in(root, folder, origin_of(real_path(root, folder) + "/"))
    return LibraryPathFolder(path=folder, exists=True, libraries=tuple(libraries)[:256])


def _numbers(version: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in (version or "0").split(".") if part.isdigit())
