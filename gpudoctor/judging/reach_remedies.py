"""Ways to let others reach an engine: where it listens, what Docker publishes, the firewall, the router."""

from gpudoctor.checking.finding import Step, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.firewall import Firewall
from gpudoctor.facts.serving import Endpoint
from gpudoctor.judging.reach import Way, as_address, scope_of

#: What an engine answers without a key or a model.
_QUESTIONS = {"ollama": "/api/version", "tgi": "/info"}


def listen_wider(each: Endpoint, inner: int | None) -> tuple[Step, ...]:
    """Return how an engine that only this machine reaches comes to listen for others."""
    if each.container is not None:
        return (step("If others shall reach it, publish its port without 127.0.0.1 before it, and let only those in "
                     "who may use it: ports: [\"{port}:{inner}\"].", None, risk="recreates the container",
                     port=port_of(each), inner=inner or port_of(each)),)  # fmt: skip
    if each.engine == "ollama":
        return (step("If others shall reach it: OLLAMA_HOST=0.0.0.0 for its service. Ollama has no login: let only "
                     "those in who may use it.", "sudo systemctl edit ollama.service", risk="restarts the service"),)
    return (step("If others shall reach it, start it with --host 0.0.0.0, and let only those in who may use it."),)


def open_firewall(way: Way, port: int, firewall: Firewall) -> tuple[Step, ...]:
    """Return how to let a port in, in the words of what keeps the rules."""
    if way.layer == "forwarding":
        return (step("Let the kernel forward packets to containers; Docker does so when it starts.",
                     "sudo sysctl -w net.ipv4.ip_forward=1"),)
    if way.forwarded:
        return (step("Packets to containers pass the chain FORWARD, not INPUT; your own rules for them stand in "
                     "DOCKER-USER. Mend the rule that was named.", "sudo iptables -S DOCKER-USER"),)
    if "ufw" in firewall.managers:
        return (step("If others shall reach it.", "sudo ufw allow {port}/tcp", port=port),)
    if "firewalld" in firewall.managers or "firewalld" in way.rule:
        return (step("If others shall reach it.", "sudo firewall-cmd --permanent --add-port={port}/tcp", port=port),
                step("Then load it.", "sudo firewall-cmd --reload"))
    return (step("If others shall reach it, accept port {port} before the rule that was named.",
                 "sudo nft -a list ruleset", port=port),)


def behind_router(way: Way, port: int, inner: int | None) -> tuple[Step, ...]:
    """Return the two steps from the internet to an engine on a private address."""
    if inner is not None and inner != port:
        second = step("On the router, forward a TCP port to {address} port {port}: this machine's port. {inner} is the "
                      "container's own, and nobody outside this machine reaches that.",
                      address=way.address, port=port, inner=inner)  # fmt: skip
    else:
        second = step("On the router, forward a TCP port to {address} port {port}.", address=way.address, port=port)
    return (step("{address} is a private address: the internet reaches it only through a router. First give this "
                 "machine a fixed address there.", address=way.address), second)  # fmt: skip


def command_there(each: Endpoint, way: Way, sender: str) -> str:
    """Return the one command to run on the other side; from the internet a private address is the router's matter."""
    address = as_address(sender)
    host = f"[{way.address}]" if ":" in way.address else way.address
    if address is not None and scope_of(address) == "public" and way.scope != "public":
        host = "PUBLIC-ADDRESS-OF-THE-ROUTER"
    scheme = "https" if each.url.startswith("https:") else "http"
    asked = f"{scheme}://{host}:{port_of(each)}{_QUESTIONS.get(each.engine or '', '/v1/models')}"
    return f"curl -sS -m 5 -o /dev/null -w '%{{http_code}}\\n' {asked}"


def port_of(each: Endpoint) -> int:
    """Return the port of its address; 0 for a container that publishes none."""
    found = each.url.partition("://")[2].partition("/")[0].rpartition(":")[2]
    return int(found) if found.isascii() and found.isdigit() else 0


def inner_port(each: Endpoint, containers: Containers | Unavailable) -> int | None:
    """Return the port inside its container, None without one."""
    if each.container is None or isinstance(containers, Unavailable):
        return None
    known = containers.named(each.container_id or each.container)
    ports = known.ports if known is not None else ()
    return next((each_port.container_port for each_port in ports if each_port.host_port == port_of(each)), None)
