"""``docker info`` as text and as JSON, and ``docker version --format json``.

Sample input:

    Server:
     Server Version: 28.5.2
     Cgroup Driver: systemd
     Runtimes: io.containerd.runc.v2 nvidia runc
     Default Runtime: runc
"""

import re
from typing import Any

import msgspec

from gpudoctor.evidence.blocks import Kind, Reading, Unread, While
from gpudoctor.facts.base import NOT_RECORDED, Unavailable
from gpudoctor.facts.docker import Docker, Runtime
from gpudoctor.probes.docker_answer import Answer, Unexpected
from gpudoctor.probes.docker_facts import info_facts, version_facts

ENDPOINT = "docker info"
_LINE = re.compile(r"(\s{0,8})([A-Za-z][\w /.\-]{1,40}):(?:\s+(\S.{0,1000}))?$")
_VERSION = re.compile(r"v?(\d[\w.+\-]{0,40})")
_CDI_SINCE = 25


def from_json(told: Any, line: int) -> Reading | None:
    """Read the engine's own answer.

    Raises:
        Unread: Something in it is of another type than Docker's API says.
    """
    try:
        answer = Answer(told)
        version = answer.text("ServerVersion")[:64]
        facts = {"kind": "docker", **info_facts(answer, _api(version))}
        return _reading(_convert({"endpoint": ENDPOINT, "version": version, **facts}))
    except Unexpected as error:
        raise Unread(f"docker info: {error}") from None


def from_text(text: str, line: int, file: str) -> Reading | None:
    """Read what people see; None where no server answered, or it is something else."""
    told: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    compose: str | None = None
    last, depth, client = "", 0, False
    for row in text.split("\n"):
        if not row.strip():
            continue
        indent = len(row) - len(row.lstrip())
        found = _LINE.match(row)
        if found is None or (indent > depth and last in ("Security Options", "CDI spec directories",
                                                         "Discovered Devices", "Insecure Registries")):
            if last and indent > depth and len(lists.setdefault(last, [])) < 4096:
                lists[last].append(row.strip()[:256])
            continue
        name, value = found[2], (found[3] or "").strip()
        if indent == 0 and name in ("Client", "Server"):
            client = name == "Client"
        elif client and name == "Version" and last.lower().startswith("compose"):
            compose = (_VERSION.match(value) or [None, None])[1]
        elif not client:
            told.setdefault(name, value)
        last, depth = name, indent
    if "Server Version" not in told and not ("Cgroup Driver" in told and "Runtimes" in told):
        return None
    return _reading(_docker_of(told, lists, compose))


def _docker_of(told: dict[str, str], lists: dict[str, list[str]], compose: str | None) -> Docker:
    version = (_VERSION.match(told.get("Server Version", "")) or ["", ""])[1]
    root, system = told.get("Docker Root Dir", ""), told.get("Operating System", "")
    security = tuple(
        f"name={each}" for each in lists.get("Security Options", [])[:64] if re.fullmatch(r"[a-z][\w-]{1,30}", each)
    )
    dirs = tuple(each for each in lists.get("CDI spec directories", []) if each.startswith("/"))[:64]
    devices = tuple(each.partition(": ")[2] for each in lists.get("Discovered Devices", []) if ": " in each)
    runtimes = told.get("Runtimes")
    return Docker(
        endpoint=ENDPOINT,
        kind=_kind(security, root, system),
        version=version or NOT_RECORDED,
        operating_system=system or NOT_RECORDED,
        runc_version=told.get("runc version") or NOT_RECORDED,
        containerd_version=told.get("containerd version") or NOT_RECORDED,
        cgroup_driver=told.get("Cgroup Driver") or NOT_RECORDED,
        cgroup_version=told.get("Cgroup Version") or NOT_RECORDED,
        runtimes=tuple(Runtime(name=name) for name in runtimes.split()[:256]) if runtimes else NOT_RECORDED,
        default_runtime=told.get("Default Runtime") or NOT_RECORDED,
        cdi_spec_dirs=_cdi_dirs(version, dirs, bool(dirs)),
        cdi_devices=devices if devices else NOT_RECORDED,
        security_options=security,
        storage_driver=told.get("Storage Driver") or NOT_RECORDED,
        root_dir=root or NOT_RECORDED,
        compose_version=compose if compose is not None else NOT_RECORDED,
    )


def version_json(told: Any, line: int) -> Reading | None:
    """Read ``docker version --format json``; None where only the client answered.

    Raises:
        Unread: Something in it is of another type than Docker's API says.
    """
    try:
        server = Answer(told).part("Server")
        return _reading(_convert(version_facts("docker version", server))) if server.text("Version") else None
    except Unexpected as error:
        raise Unread(f"docker version: {error}") from None


def _api(version: str) -> str:
    """Return an API version that tells whether this engine lists CDI devices: 28.2, with API 1.50, was the first."""
    numbers = tuple(int(each) for each in re.findall(r"\d{1,4}", version)[:2])
    return "1.50" if numbers >= (28, 2) else "1.41"


def _convert(facts: dict[str, Any]) -> Docker:
    return msgspec.convert({"status": "recorded", **msgspec.to_builtins(facts)}, Docker)


def _reading(docker: Docker) -> Reading:
    context = {"container"} | ({"snap"} if docker.kind == "snap" else set())
    return Reading(sections={"docker": docker}, context=frozenset(context))


def _kind(security: tuple[str, ...], root: str, system: str) -> str:
    if any(each.startswith("name=rootless") for each in security):
        return "rootless"
    if "/snap/docker/" in root:
        return "snap"
    return "desktop" if system == "Docker Desktop" else "docker"


def _cdi_dirs(version: str, dirs: tuple[str, ...], told: bool) -> tuple[str, ...] | Unavailable:
    """Text that names no folder means that CDI is off, from the release on that would name it."""
    major = re.match(r"\d+", version)
    if told or (major is not None and int(major[0][:4]) >= _CDI_SINCE):
        return dirs
    return NOT_RECORDED


KIND = Kind(
    name="docker-info",
    begins=r"(?:Client:(?:\s.{0,80})?|Server:|\s?Containers: \d{1,6}|\s?Server Version: \S{1,40})\s*$",
    extent=lambda: While(re.compile(r"\s+\S|\s*$|Server:|Client:|WARNING: |[A-Z][\w /.\-]{1,40}: ")),
    read=from_text,
    words=("server version:",),
)
