"""The port that the engine wants is taken by another program.

## Why it matters
The engine loads the model for minutes and then fails with "Address already in use", or, when a container publishes the
port, Docker refuses to start it. If it is the engine itself that listens, it simply runs already.

The ports judged are those of the target; for an engine without a port its default: Ollama 11434 (or `OLLAMA_HOST`),
vLLM 8000, SGLang 30000, TGI's launcher 3000, llama.cpp's server 8080. An image's own port does not count, because only
the published one can collide.

## How to fix
Stop the program named in the finding, or start the engine on another port (`--port`, `OLLAMA_HOST`, the left side of
`ports:` in Compose).

## References
- https://docs.vllm.ai/en/latest/cli/serve.html
- https://docs.ollama.com/faq
- https://docs.docker.com/engine/network/port-publishing/
"""

import re
from collections.abc import Iterator, Sequence

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step, unknown
from gpudoctor.checking.finding import Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Container, Containers
from gpudoctor.facts.host import Host
from gpudoctor.facts.network import Listener, Processes
from gpudoctor.matrices.images import engine_of

SOURCE = "/proc/net/tcp"
DEFAULTS = {"ollama": 11434, "vllm": 8000, "sglang": 30000, "tgi": 3000, "llama.cpp": 8080}
PUBLISHERS = ("docker-proxy", "rootlessport", "conmon")


@check(gatekeeper_of="processes")
def port_taken(
    processes: Processes | Unavailable, host: Host | Unavailable, containers: Containers | Unavailable, target: Target
) -> Iterator[Finding]:
    """Judge each port that the target will listen on."""
    if isinstance(processes, Unavailable):
        said = skipped if processes.harmless else unknown
        yield said("host", "listening ports could not be read: {reason}", reason=processes.reason)
        return
    wanted = _wanted(target, host)
    if not wanted:
        yield skipped(
            "host",
            "no engine is named, so no port is wanted (name one: gpudoctor check --for vllm)",
            evidence=saw("listening ports", len(processes.listeners), SOURCE),
        )
    for port, engines in wanted.items():
        yield _judge(port, engines, processes, _publisher(port, containers))


def _wanted(target: Target, host: Host | Unavailable) -> dict[int, tuple[str, ...]]:
    """Return the ports to look at, with the engines that may hold them."""
    names = tuple(wish.name for wish in target.engines)
    if target.ports:
        return dict.fromkeys(target.ports, names)
    environment = host.environment if isinstance(host, Host) else {}
    found: dict[int, tuple[str, ...]] = {}
    for name in names:
        port = DEFAULTS.get(name)
        if name == "ollama" and (match := re.search(r":(\d{1,5})/?$", environment.get("OLLAMA_HOST", ""))):
            port = int(match[1])
        if port is not None:
            found[port] = (*found.get(port, ()), name)
    return found


def _publisher(port: int, containers: Containers | Unavailable) -> Container | None:
    """Return the running container that publishes a port."""
    running = (each for each in containers.containers if each.running) if isinstance(containers, Containers) else ()
    return next((c for c in running if any(p.host_port == port and p.protocol == "tcp" for p in c.ports)), None)


def _judge(port: int, engines: Sequence[str], processes: Processes, publisher: Container | None) -> Finding:
    subject = f"port:{port}"
    held = tuple(each for each in processes.listeners if each.port == port)
    if not held:
        return passed(subject, "port {port} is free", port=port,
                      evidence=saw("listening on it", "nobody", SOURCE))
    seen = tuple(saw("listening", _line(each), SOURCE) for each in held)
    owners = {each.process for each in held}
    own = next((name for name in engines if name in owners), None)
    if own is None and owners & set(PUBLISHERS):
        own = next((name for name in engines if name in processes.engines), None)
    if own is None and publisher is not None:
        own = next((name for name in engines if name == engine_of(publisher.image)), None)
    if own is not None:
        return passed(subject, "{engine} is already running on port {port}", engine=own, port=port, evidence=seen)
    if publisher is not None:
        return failed(
            subject,
            "port {port} is taken: container {container} publishes it",
            port=port, container=publisher.name,
            evidence=(*seen, saw("container", f"{publisher.name} ({publisher.image})", "docker inspect")),
            fix=(step("See which container it is.", "docker ps --filter publish={port}"), *_other_port()),
        )
    first = next((each for each in held if each.process is not None), held[0])
    if first.process is None:
        return failed(
            subject,
            "port {port} is taken by a program that this user may not see",
            port=port, evidence=seen, fix=(step("See whose it is.", "sudo ss -ltnp sport = :{port}"), *_other_port()),
        )
    if first.process in PUBLISHERS:
        return failed(
            subject,
            "port {port} is taken: a container publishes it ({process}, process {pid})",
            port=port, process=first.process, pid=first.pid, evidence=seen,
            fix=(step("See which container it is.", "docker ps --filter publish={port}"), *_other_port()),
        )
    return failed(
        subject,
        "port {port} is taken by {process} (process {pid})",
        port=port, process=first.process, pid=first.pid, evidence=seen,
        fix=(step("See what it is, and stop it if nobody needs it.", "ps -fp {pid}"), *_other_port()),
    )


def _line(listener: Listener) -> str:
    owner = f"{listener.process} ({listener.pid})" if listener.process else "owner not visible"
    return f"{listener.address}:{listener.port} {owner}"


def _other_port() -> tuple[Step, ...]:
    return (step("Or give the engine another port (--port, OLLAMA_HOST, the left side of ports: in Compose)."),)
