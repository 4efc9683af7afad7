"""Installed packages of an environment, from the records that installers leave. No package is imported."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpudoctor.facts.python_envs import COMPANIONS, ENGINES, PythonPackage
from gpudoctor.probes.regular_file import names_in, read_text
from gpudoctor.probes.root import Root

_KNOWN = frozenset((*ENGINES, *COMPANIONS))
_WANTED = ("nvidia-",)
#: The folder a package's code lies in, where it is not the name with underscores.
MODULES = {
    "flashinfer-python": "flashinfer", "sglang-kernel": "sgl_kernel", "flash-attn-3": "flash_attn_interface.py",
    "autoawq": "awq", "onnxruntime-gpu": "onnxruntime",
}
_CONDA_NAMES = {"pytorch": "torch", "libtorch": "libtorch", "pytorch-gpu": "pytorch-gpu"}
_REQUIRED = re.compile(
    r"(?:torch|torchvision|torchaudio|triton|transformers|flashinfer[a-z-]*|xformers|nvidia-[a-z0-9-]+|numpy|"
    r"sgl-kernel|sglang-kernel|flash-attn[a-z0-9-]*)$"
)
_REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_METADATA_BYTES = 1 << 20
_MAX_PROBLEMS = 64
_MAX_PACKAGES = 256
_URL_USER = re.compile(r"://[^/@\s]*@")
_DIST = re.compile(r"(.+?)-([^-]+)\.dist-info$")
_EGG = re.compile(r"(.+?)-([^-]+?)(?:-py\d[\d.]*)?(?:-linux[^.]*)?\.egg-info$")


class Record(NamedTuple):
    """Where an installed package's own records lie: the folder of packages, and its dist-info in it."""

    folder: str
    info: str


class Installed(NamedTuple):
    """What was found. ``records`` are those of packages that came with a dist-info."""

    packages: tuple[PythonPackage, ...]
    total: int
    editable: tuple[str, ...]
    records: dict[str, Record]
    problems: tuple[str, ...]


class _Reading:
    def __init__(self, root: Root) -> None:
        self.root = root
        self.found: dict[str, PythonPackage] = {}
        self.names: set[str] = set()
        self.editable: set[str] = set()
        self.records: dict[str, Record] = {}
        self.problems: list[str] = []

    def folder(self, folder: str) -> None:
        here: dict[str, str] = {}
        names = names_in(self.root, folder)
        for name in names:
            if name.startswith("~"):
                self.problems.append(f"{folder}/{name} is left over from an installation that was interrupted")
            elif name.endswith(".dist-info"):
                self._dist_info(folder, name, here)
            elif name.endswith(".egg-info"):
                self._egg_info(folder, name)
            elif name.endswith(".egg-link"):
                self._egg_link(folder, name)
        self._shared(here, folder)

    def _dist_info(self, folder: str, info: str, here: dict[str, str]) -> None:
        match = _DIST.match(info)
        name = normalised(match[1] if match else info.removesuffix(".dist-info"))
        files = set(names_in(self.root, f"{folder}/{info}", 500))
        if "METADATA" not in files:
            # A zipped or namespace leftover says nothing of use; a folder without METADATA is half a package.
            self.problems.append(f"{folder}/{info} has no METADATA: {name} is half removed, or its record is broken")
            return
        if name in here:
            self.problems.append(f"{folder} records two versions of {name}: {here[name]}, {match[2] if match else '?'}")
        here[name] = match[2] if match else "?"
        first = name not in self.names
        self.names.add(name)
        source, editable = self._direct_url(f"{folder}/{info}") if "direct_url.json" in files else (None, False)
        if editable and first:
            self.editable.add(name)
        if not first or not (name in _KNOWN or name.startswith(_WANTED)):
            return
        self.records[name] = Record(folder, info)
        version, requires = self._metadata(f"{folder}/{info}", name, match[2] if match else None)
        module = MODULES.get(name, name.replace("-", "_"))
        if name in _KNOWN and not editable and not self.root.exists(f"{folder}/{module}"):
            self._gone(folder, info, files, name, version, module)
        self.found[name] = PythonPackage(name=name, version=version, editable=editable, source=source,
                                         requires=requires if name in _KNOWN else ())

    def _gone(self, folder: str, info: str, files: set[str], name: str, version: str | None, module: str) -> None:
        # Only where its own record promises that folder: names and folders differ for some builds.
        record = read_text(self.root, f"{folder}/{info}/RECORD", 1 << 20) if "RECORD" in files else None
        if record and re.search(rf"^{re.escape(module)}/", record, re.MULTILINE):
            self.problems.append(f"{name} {version or ''} is recorded as installed, but {folder}/{module} is gone")

    def _metadata(self, path: str, name: str, version: str | None) -> tuple[str | None, tuple[str, ...]]:
        if name not in _KNOWN:
            return version, ()
        text = read_text(self.root, f"{path}/METADATA", _METADATA_BYTES)
        if text is None:
            self.problems.append(f"{path}/METADATA cannot be read")
            return version, ()
        said, requires = parse_metadata(text)
        if said is None:
            self.problems.append(f"{path}/METADATA names no version")
        return said or version, requires

    def _direct_url(self, path: str) -> tuple[str | None, bool]:
        try:
            told = json.loads(read_text(self.root, f"{path}/direct_url.json", 1 << 16) or "")
            url, folder = told.get("url"), told.get("dir_info")
        except (ValueError, AttributeError, RecursionError):
            self.problems.append(f"{path}/direct_url.json is broken")
            return None, False
        editable = isinstance(folder, dict) and folder.get("editable") is True
        return (_URL_USER.sub("://***@", url).removeprefix("file://")[:400] if isinstance(url, str) else None), editable

    def _egg_info(self, folder: str, info: str) -> None:
        match = _EGG.match(info)
        name = normalised(match[1] if match else info.removesuffix(".egg-info"))
        if name in self.names:
            return
        self.names.add(name)
        if name in _KNOWN:
            text = read_text(self.root, f"{folder}/{info}/PKG-INFO") or read_text(self.root, f"{folder}/{info}") or ""
            said, requires = parse_metadata(text)
            self.found[name] = PythonPackage(name=name, version=said or (match[2] if match else None),
                                             requires=requires)

    def _egg_link(self, folder: str, link: str) -> None:
        name = normalised(link.removesuffix(".egg-link"))
        source = (read_text(self.root, f"{folder}/{link}", 1 << 14) or "").partition("\n")[0].strip()
        self.names.add(name)
        self.editable.add(name)
        if name in _KNOWN:
            info = f"{source}/{name.replace('-', '_')}.egg-info/PKG-INFO"
            said, requires = parse_metadata(read_text(self.root, info) or "")
            self.found[name] = PythonPackage(name=name, version=said, editable=True, source=source[:400] or None,
                                             requires=requires)

    def _shared(self, here: Iterable[str], folder: str) -> None:
        """Two CUDA majors of one nvidia package own the same files: whichever came last won."""
        both: dict[str, list[str]] = {}
        for name in here:
            match = re.fullmatch(r"nvidia-(cudnn|nccl|cusparselt|nvshmem)-cu(\d+)", name)
            if match:
                both.setdefault(match[1], []).append(name)
        for names in both.values():
            if len(names) > 1:
                self.problems.append(f"{' and '.join(sorted(names))} in {folder} overwrite each other's files")

    def conda(self, prefix: str) -> None:
        for file in names_in(self.root, f"{prefix}/conda-meta"):
            parts = file.removesuffix(".json").rsplit("-", 2)
            if not file.endswith(".json") or len(parts) != 3:
                continue
            name = _CONDA_NAMES.get(parts[0], normalised(parts[0]))
            known = self.found.get(name)
            if known is not None:
                self.found[name] = PythonPackage(name=name, version=known.version or parts[1], editable=known.editable,
                                                 source=known.source, manager="conda", build=parts[2][:100],
                                                 requires=known.requires)
            elif name in _KNOWN or _CONDA_CUDA.fullmatch(name):
                self.found[name] = PythonPackage(name=name, version=parts[1], manager="conda", build=parts[2][:100])
            self.names.add(name)


_CONDA_CUDA = re.compile(
    r"libtorch|pytorch-gpu|pytorch-cuda|cudatoolkit|cuda-version|cuda-toolkit|cuda-nvcc|cuda-cudart|cuda-nvrtc|cuda|"
    r"cudnn|libcudnn|nccl|libcublas|libcusparse|libcusolver|libcufft|libcurand|libnvjitlink|libcusparse-lt|gxx|gcc"
)


def read_packages(root: Root, folders: Sequence[str], conda_prefix: str | None) -> Installed:
    """Read every record in folders of packages, in import order, and conda's.

    Args:
        root: The file system.
        folders: The folders.
        conda_prefix: The prefix of a conda environment, None for any other.
    """
    reading = _Reading(root)
    for folder in folders:
        reading.folder(folder)
    if conda_prefix is not None:
        reading.conda(conda_prefix)
    order = {name: at for at, name in enumerate((*ENGINES, *COMPANIONS))}
    packages = sorted(reading.found.values(), key=lambda each: (order.get(each.name, len(order)), each.name))
    return Installed(tuple(packages[:_MAX_PACKAGES]), len(reading.names), tuple(sorted(reading.editable))[:256],
                     reading.records, tuple(text[:400] for text in reading.problems[:_MAX_PROBLEMS]))


def normalised(name: str) -> str:
    """Return a distribution's name in the form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()[:200]


def parse_metadata(text: str) -> tuple[str | None, tuple[str, ...]]:
    """Read METADATA's version and its unconditional requirements on packages that matter for GPUs."""
    version = None
    requires: list[str] = []
    for line in text.splitlines():
        if not line.strip():
            break
        key, colon, value = line.partition(":")
        if colon and key == "Version" and version is None:
            version = value.strip()[:100] or None
        elif colon and key == "Requires-Dist" and "extra ==" not in value:
            match = _REQUIREMENT_NAME.match(value.strip())
            if match and _REQUIRED.match(normalised(match[0])):
                requires.append(value.strip()[:200])
    return version, tuple(requires[:64])


def path_files(root: Root, folder: str) -> list[str]:
    """Return the folders that ``*.pth`` files in a folder of packages add to the import path."""
    found: list[str] = []
    for name in names_in(root, folder):
        if name.endswith(".pth"):
            for line in (read_text(root, f"{folder}/{name}", 1 << 14) or "").splitlines()[:50]:
                line = line.strip()
                if line.startswith("/") and len(line) < 1024 and line not in found and root.exists(line):
                    found.append(line)
    return found[:8]
