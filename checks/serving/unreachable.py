"""A server cannot be reached from where it is needed.

## Why it matters
It listens on loopback only, the container's port is not published, it wants a key, or a firewall or router stands
between. To users every one of these looks like "the model is down".

A container's published port is turned to the container before the rules for this machine's own ports are asked: it
passes FORWARD and DOCKER-USER, not INPUT, so that ufw neither opens nor closes it. Behind a router, forward to this
machine's port (the left one of `8080:8000`), never to the container's.

What the rules do with a connection from outside, its answers and what follows is worked out, not tried: `gpudoctor
serving --from HOST` names the command that tries it on the other side. A rule that is not understood makes it unknown.
Rules beyond this machine (a cloud's security group, a router) and programs of tc or XDP cannot be seen from here.

An engine whose container publishes no port (Ollama behind a web page in one Docker network) is asked at the container's
own address. That network may be out of this machine's reach (rootless engines, virtual machines): then it is unknown.

`gpudoctor serving` asks each engine itself. Where one runs and gives no answer that can be judged, this says why; where
nothing was found to ask, it says so, because silence is not health.

## How to fix
See where it listens, publish the port, open the firewall, and forward to the host's port.

## References
- https://docs.ollama.com/faq
- https://docs.docker.com/engine/network/port-publishing/
- https://docs.docker.com/engine/network/packet-filtering-firewalls/
- https://wiki.nftables.org/wiki-nftables/index.php/Netfilter_hooks
- https://docs.vllm.ai/en/latest/serving/openai_compatible_server/
"""

from collections.abc import Iterator, Sequence

from gpudoctor.checking import Finding, Target, check, failed, noted, passed, saw, step, unknown
from gpudoctor.checking.finding import Evidence, Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.firewall import Firewall
from gpudoctor.facts.network import Listener, Processes
from gpudoctor.facts.serving import Endpoint, Serving
from gpudoctor.judging.presence import closed_gate
from gpudoctor.judging.reach import Way, as_address, scope_of, ways
from gpudoctor.judging.reach_remedies import (
    behind_router,
    command_there,
    inner_port,
    listen_wider,
    open_firewall,
    port_of,
)

_BLOCKED = ("drop", "reject")


@check(gatekeeper_of="serving")
def unreachable(
    serving: Serving | Unavailable, firewall: Firewall | Unavailable, containers: Containers | Unavailable,
    processes: Processes | Unavailable, target: Target,
) -> Iterator[Finding]:
    """Judge each address at which an engine answers, or should."""
    if isinstance(serving, Unavailable):
        yield closed_gate("engine at work", serving)
        return
    if not serving.endpoints:
        yield unknown("host", "no engine was found that serves here",
                      evidence=saw("looked at", "listening ports, processes, containers", "/proc, Docker"),
                      fix=step("If one runs, name its address.", "gpudoctor serving http://127.0.0.1:8000"))
    listeners = processes.listeners if isinstance(processes, Processes) else None
    for each in serving.endpoints:
        yield _judge(each, firewall, listeners, inner_port(each, containers), target.sender)


def _judge(
    each: Endpoint, firewall: Firewall | Unavailable, listeners: Sequence[Listener] | None, inner: int | None,
    sender: str | None,
) -> Finding:  # fmt: skip
    seen = (saw("asked", each.url, each.origin),
            *([saw("listens on", each.addresses, "/proc/net/tcp")] if each.addresses else []))
    if each.kind == "key":
        return unknown(each.subject, "{url} could not be asked: {failure}", url=each.url, failure=each.failure,
                       evidence=seen, fix=step("Name the variable that holds its key.",
                                               "gpudoctor serving {url} --api-key-env NAME"))  # fmt: skip
    if each.kind == "unpublished":
        return unknown(each.subject, "the engine in {container} was not asked: {failure}", container=each.container,
                       failure=each.failure, evidence=seen, fix=_ways(each))
    if each.kind == "loading":
        return passed(each.subject, "{url} answers", url=each.url, evidence=seen)
    if each.kind in ("html", "no-engine", "redirect"):
        return failed(each.subject, "what answers at {url} is no engine: {failure}", url=each.url,
                      failure=each.failure, evidence=seen,
                      fix=step("Name the engine's own address and port, not that of a page or proxy in front of it."))
    if each.failure is not None:
        return failed(each.subject, "{url} cannot be asked: {failure}", url=each.url, failure=each.failure,
                      evidence=seen, fix=_ways(each))
    if each.origin == "inside":
        return _inside(each, sender, seen)
    if each.local and each.addresses and not isinstance(firewall, Unavailable):
        return _from_outside(each, firewall, listeners, inner, sender, seen)
    own = all(address.startswith("127.") or address == "::1" for address in each.addresses)
    if each.local and each.addresses and own:
        return _loopback_only(each, inner, sender, seen)
    if sender is not None and each.local:
        return unknown(each.subject, "{engine} answers at {url}; whether {sender} reaches it is not known: this "
                       "machine's firewall was not read", engine=each.engine, url=each.url, sender=sender,
                       evidence=seen)
    return passed(each.subject, "{engine} answers at {url}", engine=each.engine, url=each.url, evidence=seen)


def _inside(each: Endpoint, sender: str | None, seen: tuple[Evidence, ...]) -> Finding:
    if sender is not None:
        return unknown(each.subject, "{engine} in {container} publishes no port, so that {sender} reaches it only "
                       "through a proxy in its networks, which cannot be judged from here", engine=each.engine,
                       container=each.container, sender=sender, evidence=seen,
                       fix=step("Ask the proxy's own address from there."))  # fmt: skip
    return passed(each.subject, "{engine} in {container} answers at its own address {url}; it publishes no port, so "
                  "that only this machine and its own networks reach it", engine=each.engine,
                  container=each.container, url=each.url, evidence=seen)  # fmt: skip


def _loopback_only(each: Endpoint, inner: int | None, sender: str | None, seen: tuple[Evidence, ...]) -> Finding:
    fix = listen_wider(each, inner)
    if sender is not None:
        return failed(each.subject, "{sender} cannot reach {engine}: at {url} it listens on this machine's loopback "
                      "only", sender=sender, engine=each.engine, url=each.url, evidence=seen, fix=fix)
    return noted(each.subject, "{engine} at {url} listens on this machine's loopback only: no other machine and "
                 "no container reaches it", engine=each.engine, url=each.url, evidence=seen, fix=fix)


def _from_outside(
    each: Endpoint, firewall: Firewall, listeners: Sequence[Listener] | None, inner: int | None, sender: str | None,
    seen: tuple[Evidence, ...],
) -> Finding:  # fmt: skip
    """Say which layer stops a connection from outside, or that none here does."""
    port, address = port_of(each), as_address(sender)
    found = ways(port, each.addresses, firewall, address, listeners)
    own = all(each_address.startswith("127.") or each_address == "::1" for each_address in each.addresses)
    if own and not any(way.forwarded for way in found):
        return _loopback_only(each, inner, sender, seen)
    seen = (*seen, *(saw(f"from outside to {way.address}", _told(way), f"addresses, rules of {way.interface}")
                     for way in found[:8]))  # fmt: skip
    if sender is not None and found:
        seen = (*seen, saw("to try on the other side", command_there(each, found[0], sender), "gpudoctor"))
    who = sender or "another machine"
    if not found:
        if sender is None:
            return passed(each.subject, "{engine} answers at {url}", engine=each.engine, url=each.url, evidence=seen)
        return unknown(each.subject, "no address of this machine is known that {sender} could use for {url}",
                       sender=sender, url=each.url, evidence=seen, fix=step("See its addresses.", "ip address"))
    # The best way in counts: others choose the address.
    order = ("accept", "depends", "unknown", "reject", "drop", "refused")
    best = min(found, key=lambda way: order.index(way.fate))
    tell = failed if sender is not None else noted
    if best.fate in _BLOCKED:
        return tell(each.subject, "{engine} answers at {url}, but this machine's firewall stops {who} at {address} "
                    "port {port}: {rule}", engine=each.engine, url=each.url, who=who, address=best.address, port=port,
                    rule=best.rule, evidence=seen, fix=open_firewall(best, port, firewall))
    if best.fate == "refused":
        return tell(each.subject, "{engine} at {url} listens on {addresses}: {who} finds nobody at {address} port "
                    "{port}", engine=each.engine, url=each.url, addresses=each.addresses, who=who, port=port,
                    address=best.address, evidence=seen, fix=listen_wider(each, inner))
    if best.fate == "depends":
        tell_open = unknown if sender is not None else noted
        return tell_open(each.subject, "{engine} answers at {url}; this machine's firewall lets only some in: {rule}",
                         engine=each.engine, url=each.url, rule=best.rule, evidence=seen)
    if best.fate == "unknown":
        reason = firewall.rules.reason if isinstance(firewall.rules, Unavailable) else best.rule
        if sender is None:
            return passed(each.subject, "{engine} answers at {url} (asked on this machine)", engine=each.engine,
                          url=each.url, evidence=(*seen, saw("not judged: the firewall", reason, "nft, iptables")))
        return unknown(each.subject, "{engine} answers at {url}; whether the firewall lets {sender} in cannot be told: "
                       "{reason}", engine=each.engine, url=each.url, sender=sender, reason=reason, evidence=seen,
                       fix=step("Read it as root.", "sudo gpudoctor serving --from {sender}"))
    private = all(way.scope != "public" for way in found)
    if sender is not None and private and address is not None and scope_of(address) == "public":
        return unknown(each.subject, "{engine} answers at {url}; {sender} is beyond a router, whose forwarding cannot "
                       "be seen from here", engine=each.engine, url=each.url, sender=sender, evidence=seen,
                       fix=behind_router(best, port, inner))
    return passed(each.subject, "{engine} answers at {url}, and no rule of this machine stops {who}", who=who,
                  engine=each.engine, url=each.url, evidence=seen)


def _told(way: Way) -> str:
    if way.fate == "accept":
        return "let in, by the rules for containers" if way.forwarded else "let in"
    if way.fate == "refused":
        return "nobody listens there"
    return f"{way.fate}: {way.rule}" if way.rule else way.fate


def _ways(each: Endpoint) -> tuple[Step, ...]:
    if each.kind in ("unpublished", "refused") and each.container is not None:
        return (step("See its state and its ports.", "docker ps -a --filter name={container}",
                     container=each.container),
                step("If others shall reach it, publish its port; for this machine alone, on loopback: "
                     "ports: [\"127.0.0.1:8000:8000\"].", None, risk="recreates the container"))  # fmt: skip
    if each.kind == "tls":
        return (step("Name the authority that signed its certificate.", "gpudoctor serving {url} --ca-file CA.pem"),
                step("Or, where it speaks plain HTTP, write http://."))
    if each.kind == "name":
        return (step("See what the name means here.", "getent hosts HOST"),)
    if each.kind == "refused":
        return (step("See who listens where.", "ss -ltnp"), step("See whether the engine runs.", "gpudoctor serving"))
    return (step("See what its log says.", "gpudoctor diagnose LOG"), step("See who listens there.", "ss -ltnp"))
