"""The Snapshot: every fact about one machine at one moment, and its JSON form."""

import json
import os
import re
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from gpudoctor import __version__
from gpudoctor.facts.amd import Amd, AmdSmi
from gpudoctor.facts.base import NOT_RECORDED, Section, Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.cuda import Cuda
from gpudoctor.facts.docker import Containers, Docker
from gpudoctor.facts.driver import Driver, ModuleFile, Packages
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.files import Files
from gpudoctor.facts.firewall import Firewall
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Clock, Host, Limits, Locale, Memory, Services
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.live import Live
from gpudoctor.facts.network import FabricPorts, Processes
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.proxy import Proxy
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.facts.serving import Serving
from gpudoctor.facts.signatures import Signatures
from gpudoctor.facts.storage import DiskHealth, Storage
from gpudoctor.facts.toolkits import Toolkits

SCHEMA: Literal["gpudoctor.snapshot/1"] = "gpudoctor.snapshot/1"

#: A 16-GPU server's snapshot takes about 100 kB; anything near this bound is not one.
MAX_FILE_BYTES = 32 * 1024 * 1024
_NO_PLAIN_TEXT = re.compile(r"[^\x00-\x7e]")
_NOT_ASKED = Unavailable("only read with --deep", "not-asked")
_NOT_TRIED = Unavailable("only tried with --live", "not-asked")
_NO_COMPOSE = Unavailable("no Compose file was named", "not-asked")
_NO_SERVING = Unavailable("engines at work are only asked by gpudoctor serving", "not-asked")
_NO_FIREWALL = Unavailable("the packet filter is only read by gpudoctor serving", "not-asked")
_NO_FILES = Unavailable("files are compared by gpudoctor verify", "not-asked")
_NO_PROXY = Unavailable("no nginx configuration was read", "not-asked")
_NO_LOG = Unavailable("logs are read by gpudoctor diagnose", "not-asked")


class ProbeRun(msgspec.Struct, frozen=True, kw_only=True):
    """How one probe went: ``outcome`` is ``ok`` or the reason for what is missing."""

    name: str
    outcome: str
    duration_s: float


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Every fact about one machine. A check asks for sections by the names of these fields.

    Every section has a default, so snapshots recorded before it existed still load.
    """

    schema: Literal["gpudoctor.snapshot/1"] = SCHEMA
    tool_version: str = __version__
    recorded: str | None = None
    redacted: bool = False
    probes: tuple[ProbeRun, ...] = ()

    host: Host | Unavailable = NOT_RECORDED
    memory: Memory | Unavailable = NOT_RECORDED
    limits: Limits | Unavailable = NOT_RECORDED
    clock: Clock | Unavailable = NOT_RECORDED
    locale: Locale | Unavailable = NOT_RECORDED
    services: Services | Unavailable = NOT_RECORDED
    pci: Pci | Unavailable = NOT_RECORDED
    driver: Driver | Unavailable = NOT_RECORDED
    module_file: ModuleFile | Unavailable = NOT_RECORDED
    packages: Packages | Unavailable = NOT_RECORDED
    gpus: Gpus | Unavailable = NOT_RECORDED
    kernel_log: KernelLog | Unavailable = NOT_RECORDED
    storage: Storage | Unavailable = NOT_RECORDED
    disk_health: DiskHealth | Unavailable = NOT_RECORDED
    processes: Processes | Unavailable = NOT_RECORDED
    fabric_ports: FabricPorts | Unavailable = NOT_RECORDED
    amd: Amd | Unavailable = NOT_RECORDED
    amd_smi: AmdSmi | Unavailable = NOT_RECORDED
    toolkits: Toolkits | Unavailable = NOT_RECORDED
    python_envs: PythonEnvs | Unavailable = NOT_RECORDED
    engines: Engines | Unavailable = NOT_RECORDED
    docker: Docker | Unavailable = NOT_RECORDED
    containers: Containers | Unavailable = NOT_RECORDED
    container_toolkit: ContainerToolkit | Unavailable = NOT_RECORDED
    compose: Compose | Unavailable = _NO_COMPOSE
    cuda: Cuda | Unavailable = _NOT_ASKED
    live: Live | Unavailable = _NOT_TRIED
    serving: Serving | Unavailable = _NO_SERVING
    firewall: Firewall | Unavailable = _NO_FIREWALL
    proxy: Proxy | Unavailable = _NO_PROXY
    files: Files | Unavailable = _NO_FILES
    signatures: Signatures | Unavailable = _NO_LOG


@cache
def section_types() -> Mapping[str, type[Section]]:
    """Return ``{field: section type}`` of every section of a Snapshot, in order: every check asks."""
    found: dict[str, type[Section]] = {}
    for field in msgspec.structs.fields(Snapshot):
        for part in getattr(field.type, "__args__", ()):
            if isinstance(part, type) and issubclass(part, Section):
                found[field.name] = part
    return found


class SnapshotError(Exception):
    """A snapshot that cannot be read or written; the message is one line for the user."""


def decode(data: bytes, name: str) -> Snapshot:
    """Read a snapshot's JSON. Unknown fields are tolerated; a wrong type is refused with its path."""
    try:
        raw: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"{name}: not JSON, or cut short: {error}") from None
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if not isinstance(schema, str) or not schema.startswith("gpudoctor.snapshot/"):
        raise SnapshotError(f'{name}: not a gpudoctor snapshot (no "schema": "{SCHEMA}")')
    if schema != SCHEMA:
        raise SnapshotError(f"{name}: schema {schema!r} is newer than this gpudoctor, which reads {SCHEMA!r}")
    try:
        snapshot = msgspec.convert(raw, Snapshot)
    except (msgspec.ValidationError, RecursionError) as error:
        raise SnapshotError(f"{name}: {error}") from None
    if isinstance(snapshot.gpus, Gpus):
        indices = [gpu.index for gpu in snapshot.gpus.gpus]
        if len(set(indices)) != len(indices):
            raise SnapshotError(f"{name}: two GPUs with one index - at `$.gpus.gpus`")
    return snapshot


def encode(snapshot: Snapshot) -> bytes:
    """Return the snapshot as indented JSON with a final newline.

    It is ASCII: names of GPUs, processes and files are others' words, and the record is shown on screens.
    """
    text = msgspec.json.format(msgspec.json.encode(snapshot), indent=1).decode("utf-8")
    return _NO_PLAIN_TEXT.sub(_escaped, text).encode() + b"\n"


def _escaped(found: re.Match[str]) -> str:
    # json leaves DEL as it is.
    return "\\u007f" if found[0] == "\x7f" else json.dumps(found[0])[1:-1]


def read_snapshot(path: Path) -> Snapshot:
    """Read a snapshot file.

    Raises:
        SnapshotError: It is missing, unreadable, too large, cut short, or of another form.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise SnapshotError(f"{path}: larger than {MAX_FILE_BYTES // 2**20} MiB, so it is no snapshot")
    return decode(data, str(path))


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the file and rename, so that a full disk leaves the old file whole.

    A link stays a link. What is no regular file (``/dev/null``, ``/dev/stdout``, a pipe) is written to: to rename
    over it would take it from the whole machine.

    Raises:
        OSError: As the file system says; nothing half-written stays behind.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as special:
            special.write(data)
        return
    path = path.resolve() if path.is_symlink() else path
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot file atomically.

    Raises:
        SnapshotError: It could not be written; an older file of that name is kept.
    """
    try:
        write_atomically(path, encode(snapshot))
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror or error}; nothing was written") from None


