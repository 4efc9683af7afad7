"""Where engines may answer on this machine: by port, by process, by container. Nothing is asked here."""

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

import msgspec

from gpudoctor.facts.docker import Container, Containers
from gpudoctor.facts.network import Listener, Processes
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.engine_flags import read_flags

#: Port -> the engines that listen there by default.
PORTS = {11434: "ollama", 8000: "vllm", 30000: "sglang", 8080: "tgi or llama.cpp", 3000: "tgi"}
ENGINES = ("ollama", "vllm", "sglang", "tgi", "llama.cpp")
#: Names of images -> engine.
_IMAGES = {"ollama": "ollama", "vllm": "vllm", "sglang": "sglang", "text-generation-inference": "tgi",
           "llama.cpp": "llama.cpp", "llama-cpp": "llama.cpp"}
#: Engine -> the ports that its image serves on.
_INSIDE = {"ollama": (11434,), "vllm": (8000,), "sglang": (30000,), "tgi": (80, 3000), "llama.cpp": (8080,)}
#: What holds a port for somebody else, and programs that engines are written in.
_STAND_INS = ("docker-proxy", "rootlessport", "conmon", "slirp4netns", "pasta")
_HOSTS_OF_ENGINES = ("python", "uvicorn", "gunicorn", "pt_main_thread", "llama", "text-generation")
_MOST = 32


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An address that may be an engine's. ``sure`` when its process or image is one; ``default`` for a usual port.

    ``local``: what answers runs on this machine, so that its GPUs are those that it uses. ``origin`` is ``inside`` for
    a container that is asked at its own address, and ``port`` 0: no port of this machine leads there.
    """

    url: str
    origin: str
    port: int
    addresses: tuple[str, ...] = ()
    pid: int | None = None
    container: str | None = None
    container_id: str | None = None
    sure: bool = False
    default: bool = False
    local: bool = True
    failure: str | None = None


def candidates(facts: Snapshot) -> tuple[Candidate, ...]:
    """Return what is worth asking on this machine, one for each port."""
    containers = _running(facts)
    found: dict[int | str, Candidate] = {}
    for port, held in _by_port(_listening(facts)):
        behind = _behind(port, held, containers)
        candidate = _of_listeners(port, held, behind)
        if candidate is not None:
            found[port] = candidate
    for container in containers:
        for each in of_container(container):
            if each.sure or each.origin == "inside":
                # Without a port of this machine there may be several.
                found.setdefault(each.port or each.url, each)
    return tuple(sorted(found.values(), key=lambda each: (each.port == 0, each.port, each.url)))[:_MOST]


def _running(facts: Snapshot) -> tuple[Container, ...]:
    known = facts.containers
    return tuple(each for each in known.containers if each.running) if isinstance(known, Containers) else ()


def _by_port(listeners: Sequence[Listener]) -> Iterator[tuple[int, tuple[Listener, ...]]]:
    for port in sorted({each.port for each in listeners}):
        yield port, tuple(each for each in listeners if each.port == port)


def _behind(port: int, held: Sequence[Listener], containers: Sequence[Container]) -> Container | None:
    """Return the container that publishes a port, or that listens itself in the host's network."""
    pids = {each.pid for each in held if each.pid is not None}
    publishing = (each for each in containers if any(p.host_port == port for p in each.ports))
    inside = (each for each in containers if each.network_mode == "host" and each.pid in pids)
    return next(publishing, None) or next(inside, None)


def _of_listeners(port: int, held: Sequence[Listener], behind: Container | None) -> Candidate | None:
    owner = next((each for each in held if each.process), held[0])
    name = owner.process or ""
    engine = name in ENGINES or (behind is not None and _serves(behind, port))
    may_be = not name or name in _STAND_INS or name.lower().startswith(_HOSTS_OF_ENGINES)
    if not (engine or (port in PORTS and may_be)):
        return None
    addresses = tuple(sorted({each.address for each in held}))
    return Candidate(
        url=f"http://{_host(addresses)}:{port}",
        origin="container" if behind is not None else "process" if engine else "port",
        port=port,
        addresses=addresses,
        pid=behind.pid if behind is not None else owner.pid,
        container=behind.name if behind is not None else None,
        container_id=behind.id if behind is not None else None,
        sure=engine,
        default=port in PORTS,
    )


def _host(addresses: Sequence[str]) -> str:
    """Return how to reach a socket of this machine from this machine."""
    for address in addresses:
        if address == "0.0.0.0" or address.startswith("127."):
            return "127.0.0.1"
    if any(address == "::" for address in addresses):
        return "127.0.0.1"
    if "::1" in addresses:
        return "[::1]"
    first = addresses[0]
    try:
        return f"[{first}]" if isinstance(ip_address(first), IPv6Address) else first
    except ValueError:
        return "127.0.0.1"


def image_engine(container: Container) -> str | None:
    """Return the engine that a container's image is of, by its name."""
    name = container.image.rpartition("@")[0] or container.image
    return next((engine for word, engine in _IMAGES.items() if word in name.lower()), None)


def _serves(container: Container, host_port: int) -> bool:
    """True for the port of an engine's image that the engine itself serves on, not for metrics or a page beside it."""
    inside = _INSIDE.get(image_engine(container) or "", ())
    told = read_flags(container.command).get("port")
    if container.network_mode == "host":
        return host_port in inside or str(host_port) == told
    return any(port.host_port == host_port and (port.container_port in inside or str(port.container_port) == told)
               for port in container.ports)  # fmt: skip


def of_container(container: Container) -> tuple[Candidate, ...]:
    """Return the published ports of a container; its own address when it publishes none."""
    common = {"origin": "container", "pid": container.pid, "container": container.name, "container_id": container.id}
    ports = [port for port in container.ports if port.protocol == "tcp"]
    served = any(_serves(container, port.host_port) for port in ports)
    if container.network_mode != "host" and not served and (image_engine(container) is not None or not ports):
        # Who publishes something else may be a page or an exporter of that name.
        return (_in_own_network(container, sure=image_engine(container) is not None and not ports),)
    found: dict[int, Candidate] = {}
    for port in ports:
        address = port.address or "0.0.0.0"
        found.setdefault(port.host_port, Candidate(
            url=f"http://{_host((address,))}:{port.host_port}", port=port.host_port, addresses=(address,),
            default=True, sure=_serves(container, port.host_port), **common,  # type: ignore[arg-type]
        ))  # fmt: skip
    return tuple(found.values())


def _in_own_network(container: Container, *, sure: bool) -> Candidate:
    """Return where a container's engine answers this machine though its port is not published."""
    engine = image_engine(container)
    port = _told_port(container) or next(iter(_INSIDE.get(engine or "", ())), None)
    common = Candidate(url=f"container://{container.name}", origin="inside", port=0, pid=container.pid,
                       container=container.name, container_id=container.id, sure=sure)  # fmt: skip
    if port is None or not container.addresses:
        reason = "the container publishes no port: only its own networks reach it"
        return msgspec.structs.replace(common, origin="container", failure=reason)
    return msgspec.structs.replace(common, url=f"http://{_host(container.addresses)}:{port}")


def _told_port(container: Container) -> int | None:
    told = read_flags(container.command).get("port") or container.environment.get("OLLAMA_HOST", "").rpartition(":")[2]
    return int(told) if told.isascii() and told.isdigit() and 0 < len(told) < 6 else None


class UnknownPlace(Exception):
    """What was named cannot be asked; the message is for the user, with a hint."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def of_container_named(name: str, facts: Snapshot) -> tuple[Candidate, ...]:
    """Return the addresses of one container.

    Raises:
        UnknownPlace: There is no such container, or containers cannot be seen.
    """
    known = facts.containers
    if not isinstance(known, Containers):
        raise UnknownPlace(f"containers cannot be seen: {known.reason}", "run as a user who may use Docker")
    container = known.named(name)
    if container is None:
        names = ", ".join(each.name for each in known.containers[:5])
        hint = f"there are {names}" if names else "docker ps -a shows those that ended, too"
        raise UnknownPlace(f"no container {name[:80]!r} runs here", hint)
    if not container.running:
        return (Candidate(url=f"container://{container.name}", origin="container", port=0, container=container.name,
                          container_id=container.id, sure=True, default=True,
                          failure=f"the container does not run (it is {container.state})"),)
    if container.network_mode == "host":
        return (_in_host_network(container, facts),)
    found = of_container(container)
    own = tuple(each for each in found if each.sure)
    return own or tuple(msgspec.structs.replace(each, sure=True) for each in found)


def _in_host_network(container: Container, facts: Snapshot) -> Candidate:
    """Return where a container without a network of its own listens: told, seen, or its engine's usual port."""
    seen = next((each.port for each in _listening(facts) if each.pid is not None and each.pid == container.pid), None)
    usual = {engine: port for port, engine in PORTS.items()} | {"tgi": 80, "llama.cpp": 8080}
    port = _told_port(container) or seen or usual.get(image_engine(container) or "", 8000)
    addresses = tuple(sorted({each.address for each in _listening(facts) if each.port == port}))
    return Candidate(
        url=f"http://{_host(addresses or ('127.0.0.1',))}:{port}", origin="container", port=port, addresses=addresses,
        pid=container.pid, container=container.name, container_id=container.id, sure=True, default=True,
    )  # fmt: skip


def of_url(text: str, facts: Snapshot, host_name: str = "") -> Candidate:
    """Return the address that the user named: ``http://host:port``, ``host:port`` or ``host``.

    Raises:
        UnknownPlace: It is no such address.
    """
    hint = "for example http://127.0.0.1:11434"
    url = text.strip() if "://" in text else f"http://{text.strip()}"
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise UnknownPlace(f"{text[:100]!r} is no address", hint) from None
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[A-Za-z0-9._:%-]+", host):
        raise UnknownPlace(f"{text[:100]!r} is no address", hint)
    if parts.username is not None or parts.password is not None:
        raise UnknownPlace("the address holds a user or a password, which would be shown in reports",
                           "use --api-key-env NAME")
    if parts.query or parts.fragment:
        raise UnknownPlace("the address holds more than host, port and path", hint)
    port = port if port is not None else (443 if parts.scheme == "https" else 80)
    path = parts.path.rstrip("/").removesuffix("/v1")
    shown = f"[{host}]" if ":" in host else host
    loopback = host in ("localhost", "::1") or host.startswith("127.")
    held = [each for each in _listening(facts) if each.port == port]
    local = (loopback or host == host_name) and not any(each.process == "ssh" for each in held)
    behind = _behind(port, held, _running(facts)) if local else None
    owner = next((each for each in held if each.pid is not None), None)
    return Candidate(
        url=f"{parts.scheme}://{shown}:{port}{path}",
        origin="named",
        port=port,
        addresses=tuple(sorted({each.address for each in held})) if local else (),
        pid=behind.pid if behind is not None else owner.pid if owner is not None and local else None,
        container=behind.name if behind is not None else None,
        container_id=behind.id if behind is not None else None,
        sure=True,
        default=True,
        local=local,
    )


def _listening(facts: Snapshot) -> tuple[Listener, ...]:
    return facts.processes.listeners if isinstance(facts.processes, Processes) else ()
