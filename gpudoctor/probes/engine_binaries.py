"""Ollama and llama.cpp as programs: version, and the GPUs that their libraries were compiled for. Nothing is run."""

import functools
import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.engines import EngineBinary, RunnerLibrary
from gpudoctor.probes.cuda_names import cuda_only
from gpudoctor.probes.elf import ElfError, read_elf
from gpudoctor.probes.env_binaries import Binaries
from gpudoctor.probes.env_processes import container_of, other_root
from gpudoctor.probes.loader import headers
from gpudoctor.probes.places import Places
from gpudoctor.probes.regular_file import folders_in, names_in, open_regular, read_text, real_path
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root
from gpudoctor.probes.users import read_users

SECTIONS = ("engines",)
OPTIONS: tuple[str, ...] = ()

_PROGRAMS = {"ollama": "ollama", "llama-server": "llama.cpp", "llama-cli": "llama.cpp"}
_FOLDERS = (
    "/usr/local/bin", "/usr/bin", "/bin", "/opt/ollama/bin", "/opt/*/bin", "/opt/llama*/build/bin", "/opt/llama*",
    "/snap/ollama/current/bin", "/home/linuxbrew/.linuxbrew/bin", "/run/current-system/sw/bin", "/app",
)
_IN_HOMES = ("bin", ".local/bin", "ollama/bin", "llama.cpp/build/bin", "*/llama.cpp/build/bin", "llama.cpp",
             ".docker/bin/inference", ".linuxbrew/bin")
_LIBRARY = re.compile(r"libggml[-_](cuda|hip|rocm|vulkan|sycl)[^/]*\.so(?:\.\d+)*$|ollama_llama_server$")
_BUILD = re.compile(r"LLAMA_BUILD_NUMBER\s*=\s*(\d+)")
_LLAMA_LIBRARY = re.compile(r"libllama\.so\.0\.0\.(\d{2,6})$")
_IN_PATH = re.compile(
    r"(?:^|[-_/])b(\d{4,6})(?=[-_/.]|$)|/Cellar/[^/]+/(\d[\d.]*)/|/(?:ollama|llama\.cpp)[-_]v?(\d+\.\d+\.\d+)"
)
_GO_MAGIC = b"\xff Go buildinf:"
_GO_VERSION = re.compile(r"version\.Version=v?(\d+\.\d+\.\d+[0-9A-Za-z.+-]*)")
_GO_MODULE = re.compile(r"^mod\tgithub\.com/ollama/ollama\tv(\d+\.\d+\.\d+[0-9A-Za-z.+-]*)", re.MULTILINE)
_LINKED = re.compile(rb"(?<![0-9A-Za-z.+-])(\d{1,3}\.\d{1,4}\.\d{1,4}(?:-[0-9A-Za-z.]{1,16})?)\x00")
_NEAR_BYTES = 8 << 10
_MAX_STRINGS = 96 << 20
_MAX_ENGINES = 32
_MAX_RUNNERS = 64


class _Place(NamedTuple):
    root: Root
    path: str
    pids: tuple[int, ...]
    container: str | None


def probe(out: Reporter, root: Root) -> None:
    """Fill ``engines``; each program is an item of its own."""
    out.set("engines", engines=[])
    binaries = Binaries(root)
    for place in _places(root, Places(out, root)):
        engine = _PROGRAMS[place.path.rpartition("/")[2]]
        name = f"{engine} at {place.path}" + (f" in container {place.container}" if place.container else "")
        if out.left_out(name):
            continue
        known = EngineBinary(engine=engine, path=place.path, origin=origin_of(place.path), pids=place.pids,
                             container=place.container)
        out.start(name, patience=8, section="engines", field="engines", placeholder=known, promised=True)
        binaries.tell = functools.partial(_looking_into, out, name)
        out.append("engines", "engines", read_engine(place.root, known, binaries))


def _looking_into(out: Reporter, item: str, path: str) -> None:
    out.start(item, doing=f"looking into {path}")


def _places(root: Root, places: Places) -> list[_Place]:
    """Return each program once, whatever links lead to it, with the processes that run it."""
    found: dict[tuple[str | None, str], _Place] = {}
    for path in _files(root, places):
        real = real_path(root, path)
        found.setdefault((None, _program(real)), _Place(root, path, (), None))
    for pid, path, elsewhere in _running(root):
        container = container_of(root, pid) if elsewhere else None
        place = found.get((container, _program(path)))
        if place is None:
            below = Root(str(root.path(elsewhere))) if elsewhere else root
            place = _Place(below, path, (), container)
        found[container, _program(path)] = place._replace(pids=(*place.pids, pid)[:1024])
    # llama-cli beside llama-server is one installation.
    servers = {(container, os.path.dirname(path)) for container, path in found if path.endswith("/llama-server")}
    kept = [place for (container, path), place in found.items()
            if not (path.endswith("/llama-cli") and (container, os.path.dirname(path)) in servers)]
    return kept[:_MAX_ENGINES]


def _program(path: str) -> str:
    return path.removesuffix(" (deleted)")


def _files(root: Root, places: Places) -> Iterator[str]:
    environment: Mapping[str, str] = os.environ if root.live else {}
    folders = [folder for folder in environment.get("PATH", "").split(":")[:100] if folder.startswith("/")]
    for pattern in _FOLDERS:
        # A name may hide a volume that hangs: then the whole place is left out.
        if places.enter(f"/{pattern.split('/')[1]}"):
            folders += root.glob(pattern)
    homes = dict.fromkeys(user.home for user in read_users(root) if user.is_person and user.home != "/")
    for home in list(homes)[:256]:
        if places.enter(home):
            folders += [path for pattern in _IN_HOMES for path in root.glob(f"{home}/{pattern}")]
    for folder in dict.fromkeys(folders):
        for name in _PROGRAMS if places.enter(folder) else ():
            status = root.stat(f"{folder}/{name}")
            if status is not None and status.st_mode & 0o111 and status.st_mode & 0o170000 == 0o100000:
                yield f"{folder}/{name}"


def _running(root: Root) -> Iterator[tuple[int, str, str | None]]:
    own = root.stat("/")
    for name in root.list("/proc"):
        path = _program(root.readlink(f"/proc/{name}/exe") or "") if name.isdigit() else ""
        if path.rpartition("/")[2] in _PROGRAMS:
            yield int(name), path, other_root(root, int(name), own)


def origin_of(path: str) -> str:
    """Say by where a program lies who put it there."""
    for origin, starts in (("snap", ("/snap/",)), ("homebrew", ("/home/linuxbrew/", "/opt/homebrew/")),
                           ("nix", ("/nix/", "/run/current-system/")), ("home", ("/home/", "/root/")),
                           ("distribution", ("/usr/bin/", "/bin/"))):
        if path.startswith(starts):
            return origin
    return "local"


def read_engine(root: Root, known: EngineBinary, binaries: Binaries) -> EngineBinary:
    """Read one engine's version and libraries."""
    real = real_path(root, known.path)
    if not root.exists(real):
        return _with(known, failure="the program that runs is no longer on disk")
    version, source = _ollama_version(root, real) if known.engine == "ollama" else _llama_version(root, real)
    runners = tuple(_runners(root, known.engine, real, binaries))
    nothing = Unavailable("its GPU code is in libraries of its own", "not-applicable")
    return _with(known, version=version, version_source=source, runners=runners,
                 arch_list=nothing if runners else binaries.arch_list(real, root))


def _with(known: EngineBinary, **changes: object) -> EngineBinary:
    return msgspec.structs.replace(known, **changes)


def _ollama_version(root: Root, path: str) -> tuple[str | None, str | None]:
    try:
        with open_regular(root, path) as file:
            sections = read_elf(file).sections
            start, size = sections.get(".go.buildinfo", (0, 0))
            notes = file.read(start, min(size, 1 << 18))
            version = go_version(notes)
            if version:
                return version, "build-info"
            start, size = sections.get(".rodata", (0, 0))
            version = linked_version(file.read(start, min(size, _MAX_STRINGS)), go_notes(notes)[0])
            if version:
                return version, "linker-string"
    except (OSError, ElfError):
        pass
    return _version_in(path)


def go_notes(data: bytes) -> tuple[str, str]:
    """Return the Go version and the module's notes that the Go linker left in a program; empty without them.

    Layout (debug/buildinfo): magic of 14 bytes, pointer size, flags; flag 2: at 32 two strings, each with its length
    as a varint, the second being the notes between two marks of 16 bytes.
    """
    if not data.startswith(_GO_MAGIC) or len(data) < 32 or not data[15] & 2:
        return "", ""
    length, at = _varint(data, 32)
    compiler = data[at : at + length].decode("utf-8", "replace")
    length, at = _varint(data, at + length)
    return compiler, data[at : at + length].decode("utf-8", "replace")


def go_version(data: bytes) -> str | None:
    """Return Ollama's version from the linker's notes; None when they do not have it (built with ``-trimpath``)."""
    notes = go_notes(data)[1]
    for pattern in (_GO_VERSION, _GO_MODULE):
        match = pattern.search(notes)
        # 0.0.0 is what builds without a release call themselves.
        if match and not match[1].startswith("0.0.0"):
            return match[1].rstrip('"')[:64]
    return None


def linked_version(strings: bytes, compiler: str) -> str | None:
    """Return the version that was given to the Go linker with ``-X``; None when there is not exactly one.

    Unlike other strings of Go, those end with a zero, and lie beside the linker's own: the compiler's version. So it
    is in what Go 1.23 to 1.27 linked (docker, kpt, and programs built to see it).
    """
    if not compiler.startswith("go1."):
        return None
    found: set[bytes] = set()
    mark = compiler.encode() + b"\0"
    at = -1
    while (at := strings.find(mark, at + 1)) >= 0:
        near = strings[max(0, at - _NEAR_BYTES) : at + _NEAR_BYTES]
        found.update(match[1] for match in _LINKED.finditer(near))
    return found.pop().decode() if len(found) == 1 and b"0.0.0" not in found else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in data[at : at + 5]:
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return value, at


def _llama_version(root: Root, path: str) -> tuple[str | None, str | None]:
    folder = os.path.dirname(path)
    for place in (folder, f"{os.path.dirname(folder)}/lib", f"{os.path.dirname(folder)}/lib64"):
        for name in names_in(root, place):
            match = _LLAMA_LIBRARY.fullmatch(name)
            if match:
                return f"b{match[1]}", "library-name"
    match = _BUILD.search(read_text(root, f"{os.path.dirname(folder)}/common/build-info.cpp", 4096) or "")
    if match and match[1] != "0":
        return f"b{match[1]}", "build-info"
    return _version_in(path)


def _version_in(path: str) -> tuple[str | None, str | None]:
    match = _IN_PATH.search(path)
    if match is None:
        return None, None
    return (f"b{match[1]}" if match[1] else match[2] or match[3]), "path"


def _runners(root: Root, engine: str, program: str, binaries: Binaries) -> Iterator[RunnerLibrary]:
    folder = os.path.dirname(program)
    above = os.path.dirname(folder)
    if engine == "ollama":
        bases = [f"{above}/lib/ollama", f"{folder}/lib/ollama", "/usr/lib/ollama", "/usr/local/lib/ollama"]
    else:
        bases = [folder, f"{above}/lib", f"{above}/lib64", f"{above}/lib/x86_64-linux-gnu", f"{above}/lib/llama.cpp"]
    seen: set[str] = set()
    for base in dict.fromkeys(bases):
        inner = [f"{base}/{name}" for name in folders_in(root, base, 64)] if engine == "ollama" else []
        inner += [f"{base}/runners/{name}" for name in folders_in(root, f"{base}/runners", 64)]
        for place in (base, *inner):
            for name in names_in(root, place):
                match = _LIBRARY.match(name)
                real = real_path(root, f"{place}/{name}") if match else ""
                for_cpu = match is not None and not match[1] and "cpu" in place.rpartition("/")[2]
                if match and not for_cpu and real not in seen and root.exists(real):
                    seen.add(real)
                    yield _runner(root, f"{place}/{name}", match[1], place, base, binaries)
                    if len(seen) == _MAX_RUNNERS:
                        return
        if seen:
            return


def _runner(root: Root, path: str, kind: str | None, place: str, base: str, binaries: Binaries) -> RunnerLibrary:
    elf = headers(root, path)
    variant = place.rpartition("/")[2] if place != base else None
    if elf is None:
        return RunnerLibrary(path=path, backend=kind or "cuda", variant=variant, failure="no library, or cut short")
    needs = cuda_only(elf.needed)
    backend = {"hip": "rocm", None: _backend_of(variant or "")}.get(kind, kind) or "cuda"
    linked = re.search(r"lib(?:cudart|cublas|cublasLt)\.so\.(\d+)", " ".join(needs))
    named = re.match(r"cuda_v(\d+)", variant or "")
    chosen = linked or named
    return RunnerLibrary(
        path=path, backend=backend, variant=variant, needs=needs[:64],
        cuda=int(chosen[1]) if chosen and backend == "cuda" else None,
        arch_list=binaries.arch_list(path, root) if backend == "cuda" else
        Unavailable("only CUDA code is looked into", "not-applicable"),
    )


def _backend_of(variant: str) -> str:
    return next((name for name in ("cuda", "rocm", "vulkan") if name in variant), "cpu")
