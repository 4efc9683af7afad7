"""A model's API is published on all interfaces, and it asks nobody for a key.

## Why it matters
Everyone who reaches the machine can use the GPUs, read what others ask where logs are kept, and with Ollama also pull
and delete models. Docker's published ports pass by `ufw`: its rules stand before the firewall's. Scanners find open
Ollama servers within hours.

## How to fix
Publish on this machine only (`127.0.0.1:8000:8000`) and put a proxy with authentication before it, or start the engine
with a key.

## References
- https://docs.docker.com/engine/network/packet-filtering-firewalls/#docker-and-ufw
- https://docs.vllm.ai/en/stable/usage/security.html
- https://docs.ollama.com/faq
"""

from collections.abc import Iterator
from itertools import pairwise

from gpudoctor.checking import Finding, check, passed, saw, skipped, step, warned
from gpudoctor.facts.compose import Compose, Service
from gpudoctor.fit.compose_service import plain_words
from gpudoctor.judging.composed import at, engine, value

_EVERYWHERE = ("", "0.0.0.0", "::", "*")
#: The flag and the variable with which an engine asks for a key; Ollama has none.
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "vllm": (("--api-key",), ("VLLM_API_KEY",)), "sglang": (("--api-key",), ()),
    "llama.cpp": (("--api-key", "--api-key-file"), ("LLAMA_API_KEY",)), "tgi": (("--api-key",), ("API_KEY",)),
    "ktransformers": (("--api-key", "--api_key"), ()), "ollama": ((), ()),
}  # fmt: skip


@check()
def port_open(compose: Compose) -> Iterator[Finding]:
    """Judge the published ports of services that run a known engine."""
    for service in compose.services:
        name = engine(service)
        if name not in _KEYS:
            yield skipped(service.subject, "runs no engine whose API gpudoctor knows")
            continue
        if service.network_mode == "host" and not _has_key(service, name):
            yield _on_the_host(service, name)
            continue
        open_ports = [port for port in service.ports if port.address in _EVERYWHERE]
        if not open_ports:
            yield passed(service.subject, "publishes nothing on all interfaces",
                         evidence=saw("ports", tuple(str(each.host_port) for each in service.ports),
                                      service.place.file))
        elif _has_key(service, name):
            yield passed(service.subject, "asks for a key", evidence=saw("engine", name, service.place.file))
        else:
            for port in open_ports:
                yield at(port.place, warned(
                    service.subject, "{engine} answers everyone who reaches port {port}: it is published on all "
                    "interfaces, and no key is asked for", engine=name, port=port.host_port or "that Docker picks",
                    evidence=saw("published", f"{port.address or '0.0.0.0'}:{port.host_port}", port.place.file),
                    inside=port.container_port, outside=port.host_port or port.container_port,
                    fix=step('Publish it on this machine only: "127.0.0.1:{outside}:{inside}", or start the engine '
                             "with a key.")))


def _on_the_host(service: Service, name: str) -> Finding:
    """Judge a service in the host's network, where it listens by its own flag and nothing is published."""
    words = " ".join(service.command).replace("=", " ").split()
    hosts = [after for word, after in pairwise(words) if word == "--host"]
    seen = saw("network_mode", "host", service.place.file)
    if hosts and hosts[-1] in ("0.0.0.0", "::"):
        return at(service.place, warned(
            service.subject, "{engine} answers everyone who reaches the machine: it is in the host's network, listens "
            "on {address}, and no key is asked for", engine=name, address=hosts[-1], evidence=seen,
            fix=step("Let it listen on this machine only: --host 127.0.0.1, or start the engine with a key.")))
    return skipped(service.subject, "it is in the host's network: on which addresses it listens is not in the file",
                   evidence=seen)


def _has_key(service: Service, name: str) -> bool:
    flags, variables = _KEYS[name]
    given = any(word.partition("=")[0] in flags for word in plain_words(service.command))
    return given or any(service.variable(each) is not None and value(service, each) != "" for each in variables)
