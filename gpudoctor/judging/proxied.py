"""Which routes of a proxy lead to an engine. What may be any web service is not counted."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from gpudoctor.checking.finding import Evidence, Finding, Location, Step, saw, step
from gpudoctor.checking.needs import need
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.network import Processes
from gpudoctor.facts.proxy import Configuration, Proxy, Route, Setting
from gpudoctor.facts.serving import Serving
from gpudoctor.judging.endpoints import ENGINES, PORTS, of_container

#: Words in the name of a host or an upstream that say what is there.
_WORDS = {"ollama": "ollama", "vllm": "vllm", "sglang": "sglang", "tgi": "tgi", "text-generation": "tgi",
          "llama": "llama.cpp", "llm": "an engine"}
_OLLAMA_PORT = 11434
#: This machine, as a proxy on it or in a container calls it.
_HERE = ("localhost", "127.0.0.1", "[::1]", "host.docker.internal")
_PATHS = re.compile(r"/(?:v1|api/(?:generate|chat|embed))\b")


class EngineRoute(NamedTuple):
    """A route to an engine; ``engine`` is its name, or "an engine"."""

    configuration: Configuration
    route: Route
    engine: str

    @property
    def subject(self) -> str:
        """Its name in findings."""
        return f"location:{self.route.server}{self.route.location or '/'}"

    def at(self, finding: Finding, setting: Setting) -> Finding:
        """Return the finding with the line that is to be changed: the setting's, or that of the proxy_pass."""
        place = setting if setting.line is not None and setting.file is not None else self.route
        return msgspec.structs.replace(finding, location=Location(str(place.file), place.line))

    def seen(self, name: str, setting: Setting) -> tuple[Evidence, ...]:
        """Return what was seen of it and of one setting."""
        default = "nginx's default" + (", unless a file that is not here sets it" if self.configuration.piece else "")
        where = f"{setting.file}:{setting.line}" if setting.line is not None else default
        return (saw("leads to", self.route.target, f"{self.route.file}:{self.route.line}"),
                saw(name, setting.value, where))

    def write(self, line: str) -> tuple[Step, ...]:
        """Return how to write a line into this location and load it."""
        first = step("In {file}, in location {location} beside line {line}, write: {written}", file=self.route.file,
                     location=self.route.location or "/", line=self.route.line, written=line)  # fmt: skip
        if self.configuration.container is not None:
            inside = self.configuration.container[:12]
            return (first, step("Test and load it.", "docker exec {inside} sh -c 'nginx -t && nginx -s reload'",
                                inside=inside))
        return (first, step("Test and load it.", "sudo nginx -t && sudo nginx -s reload"))


def engine_routes(
    proxy: Proxy | Unavailable, processes: Processes | Unavailable, containers: Containers | Unavailable,
    serving: Serving | Unavailable,
) -> tuple[EngineRoute, ...]:  # fmt: skip
    """Return the routes that lead to engines; without facts of a proxy, end this check."""
    ports = engine_ports(processes, containers, serving)
    found = []
    for configuration in need(proxy).configurations:
        for route in configuration.routes:
            engine = _engine(route, ports)
            if engine is not None:
                found.append(EngineRoute(configuration, route, engine))
    return tuple(found)


def engine_ports(
    processes: Processes | Unavailable, containers: Containers | Unavailable, serving: Serving | Unavailable
) -> dict[int, str]:
    """Return the ports of this machine behind which an engine is, with its name; 0 for one without a port."""
    return dict(_ports(processes, containers, serving))


def _ports(
    processes: Processes | Unavailable, containers: Containers | Unavailable, serving: Serving | Unavailable
) -> Iterator[tuple[int, str]]:
    """Yield the ports of this machine behind which an engine is, with its name."""
    if isinstance(processes, Processes):
        for listener in processes.listeners:
            if listener.process in ENGINES:
                yield listener.port, str(listener.process)
    if isinstance(containers, Containers):
        for container in containers.containers:
            for each in of_container(container) if container.running else ():
                if each.sure:
                    yield each.port, container.name
    if isinstance(serving, Serving):
        for endpoint in serving.answering:
            port = endpoint.url.rpartition(":")[2].partition("/")[0]
            if endpoint.local and port.isdigit() and endpoint.engine:
                yield int(port), endpoint.engine


def _engine(route: Route, ports: dict[int, str]) -> str | None:
    for host in route.hosts:
        name, _, number = host.rpartition(":")
        port = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0
        if port == _OLLAMA_PORT:
            return "ollama"
        if port and port in ports and (name in _HERE or name.startswith("172.")):
            return ports[port]
        if port in PORTS and _PATHS.match(route.location.split()[-1] if route.location else ""):
            return "an engine"
    named = " ".join((route.target, *route.hosts)).lower()
    words = set(re.split(r"[^a-z0-9]+", named)) | {word for word in _WORDS if "-" in word and word in named}
    return next((engine for word, engine in _WORDS.items() if word in words), None)
