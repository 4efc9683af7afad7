"""Whether a port of this machine is reached from outside, and which layer stops it. Nothing is tried."""

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import Literal, NamedTuple

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.firewall import Chain, Firewall, Interface
from gpudoctor.facts.network import Listener
from gpudoctor.judging.packet_match import Packet
from gpudoctor.judging.packets import Answer, fate, nat_fate, turned

Layer = Literal["", "listening", "firewall", "forwarding"]
Scope = Literal["public", "private", "shared"]
#: Bridges and cables to containers and virtual machines: nobody outside is behind them.
_INSIDE = re.compile(r"lo$|docker|br-[0-9a-f]{12}$|veth|virbr|cni|flannel|podman|lxdbr|lxcbr|cali|kube-|tap|vnet")
#: Between a provider and its customers (RFC 6598), and what Tailscale gives its members.
_SHARED = ip_network("100.64.0.0/10")
#: The worst first: what stops a connection for certain, then what nobody can tell.
_ORDER = ("drop", "reject", "unknown", "depends", "accept")


class Way(NamedTuple):
    """One address of this machine, and what becomes of a connection to it.

    ``layer`` is what stops it, empty where nothing does; ``fate`` is ``accept`` then. ``forwarded``: it is turned to a
    container, so that rules for forwarded packets hold and those for this machine's own ports do not.
    """

    address: str
    interface: str
    scope: Scope
    fate: str
    layer: Layer = ""
    rule: str = ""
    forwarded: bool = False


def scope_of(address: str) -> Scope:
    """Tell where an address is known: everywhere, in one network, or between a provider and its customers."""
    at = ip_address(address)
    if at.version == 4 and at in _SHARED:
        return "shared"
    return "public" if at.is_global else "private"


def as_address(sender: str | None) -> str | None:
    """Return what was named, where it is an address and no name."""
    try:
        return str(ip_address(sender or ""))
    except ValueError:
        return None


def ways(
    port: int, addresses: Sequence[str], firewall: Firewall, sender: str | None = None,
    listeners: Sequence[Listener] | None = None,
) -> tuple[Way, ...]:  # fmt: skip
    """Return what becomes of connections to a port at each address of this machine that others may use.

    Args:
        port: The port.
        addresses: Where a socket listens, or where a container's port is published.
        firewall: Addresses and rules.
        sender: The other side's address; None when it is not known.
        listeners: Every listening socket, for rules that turn a connection to another port; None when not known.
    """
    rules = None if isinstance(firewall.rules, Unavailable) else firewall.rules
    return tuple(
        _way(_Asked(port, tuple(addresses), firewall, sender, listeners), rules.chains if rules is not None else None,
             each, at)
        for each, at in _towards(firewall.interfaces, sender)
    )  # fmt: skip


def _towards(interfaces: Sequence[Interface], sender: str | None) -> Iterator[tuple[Interface, str]]:
    """Yield the addresses that others use: with a sender, those of the interface that leads there."""
    known = [(each, at) for each in interfaces if not _INSIDE.match(each.name) for at in map(_interface, each.addresses)
             if at is not None and not at.ip.is_loopback and not at.ip.is_link_local]  # fmt: skip
    if sender is not None:
        other = ip_address(sender)
        known = [(each, at) for each, at in known if at.version == other.version]
        near = [(each, at) for each, at in known if other in at.network]
        known = near or [(each, at) for each, at in known if each.default] or known
    for each, at in known:
        yield each, str(at.ip)


def _interface(text: str) -> "IPv4Interface | IPv6Interface | None":
    try:
        return ip_interface(text)
    except ValueError:
        return None


class _Asked(NamedTuple):
    """What is asked of every address."""

    port: int
    addresses: tuple[str, ...]
    firewall: Firewall
    sender: str | None
    listeners: Sequence[Listener] | None


def _way(asked: _Asked, chains: Sequence[Chain] | None, interface: Interface, address: str) -> Way:
    firewall = asked.firewall
    family: Literal["ip", "ip6"] = "ip6" if ":" in address else "ip"
    base = Way(address, interface.name, scope_of(address), "accept")
    listens = _taken(asked.port, address, asked.addresses, firewall)
    if chains is None:
        return base._replace(fate="unknown") if listens else base._replace(fate="refused", layer="listening")
    others = frozenset(each.name for each in firewall.interfaces if each.addresses and each.name != interface.name)
    packet = Packet(family=family, iif=interface.name, daddr=address, dport=asked.port, saddr=asked.sender,
                    returns=_returns(interface, asked.sender), devices=others)  # fmt: skip
    answer, seen = fate(chains, ("ingress", "prerouting"), packet)
    if answer.fate in ("drop", "reject"):
        return base._replace(fate=answer.fate, layer="firewall", rule=answer.rule)
    doubts = [answer]
    after = turned(chains, seen)
    if isinstance(after, Answer):
        return base._replace(fate=after.fate, layer="firewall", rule=after.rule)
    own = {at.split("/")[0] for each in firewall.interfaces for at in each.addresses}
    after = after._replace(local=after.local or after.daddr in own)
    if not after.local:
        name = "net.ipv4.ip_forward" if family == "ip" else "net.ipv6.conf.all.forwarding"
        if (firewall.forwards if family == "ip" else firewall.forwards_ipv6) is False:
            return base._replace(fate="drop", layer="forwarding", rule=f"{name} = 0", forwarded=True)
        base = base._replace(forwarded=True)
        after = after._replace(oif=_leads_to(after.daddr or "", firewall.interfaces))
    doubts += _inward(chains, after)
    if after.local and after.turned:
        listens, doubt = _taken_by_any(asked, after)
        doubts += [doubt] if doubt is not None else []
    if after.local and not listens and all(each.fate == "accept" for each in doubts):
        return base._replace(fate="refused", layer="listening")
    doubts += _talked(chains, packet, after)
    worst = min(doubts, key=lambda each: _ORDER.index(each.fate))
    if worst.fate != "accept":
        return base._replace(fate=worst.fate, layer="firewall", rule=worst.rule)
    unseen = not isinstance(firewall.rules, Unavailable) and firewall.rules.unseen
    return base._replace(fate="unknown", rule=unseen) if unseen else base


def _inward(chains: Sequence[Chain], packet: Packet) -> list[Answer]:
    """Return what becomes of a packet from outside once NAT has turned it."""
    answer, packet = fate(chains, ("prerouting",), packet, behind_nat=True)
    last = "input" if packet.local else "postrouting"
    further, packet = fate(chains, ("input",) if packet.local else ("forward", "postrouting"), packet)
    out = [] if packet.local else [fate(chains, ("postrouting",), packet, behind_nat=True)[0]]
    first = packet.state == "new"
    return [answer, further, *out, *([nat_fate(chains, last, packet)] if first else [])]


def _talked(chains: Sequence[Chain], first: Packet, turned_first: Packet) -> list[Answer]:
    """Return what becomes of the answer to the first packet, and of what the other side sends after it."""
    back = turned_first._replace(
        state="established", reply=True, altered=frozenset(), local=False, saddr=turned_first.daddr,
        sport=turned_first.dport, daddr=first.saddr, dport=None, oif=first.iif,
        iif=None if turned_first.local else turned_first.oif, orig_daddr=first.daddr, orig_dport=first.dport,
    )  # fmt: skip
    untracked = turned_first.altered & {"state"}
    hooks = ("output", "postrouting") if turned_first.local else ("ingress", "prerouting", "forward", "postrouting")
    answers: list[Answer] = []
    # A connection that was taken out of tracking has no state on its way back, either.
    answer, back = fate(chains, hooks, back._replace(altered=untracked))
    answers.append(answer)
    if not turned_first.local:
        answers.append(fate(chains, ("prerouting",), back, behind_nat=True)[0])
    if back.turned and "state" in back.altered:
        answers.append(Answer("unknown", "a rule takes the answers of a turned connection out of tracking (notrack)"))
    unturned = back._replace(saddr=first.daddr, sport=first.dport)
    answers.append(fate(chains, ("postrouting",), unturned, behind_nat=True)[0])
    answer, after = fate(chains, ("ingress", "prerouting"), first._replace(state="established", altered=untracked))
    later = turned_first._replace(state="established", altered=after.altered)
    return [*answers, answer, *_inward(chains, later)]


def _taken(port: int, address: str, addresses: Sequence[str], firewall: Firewall) -> bool:
    """Tell whether a socket on these addresses takes a connection to this one."""
    if address in addresses:
        return True
    if ":" in address:
        return "::" in addresses
    return "0.0.0.0" in addresses or ("::" in addresses and port not in (firewall.only_ipv6 or ()))


def _taken_by_any(asked: _Asked, packet: Packet) -> tuple[bool, Answer | None]:
    """Tell whether somebody listens where NAT of this machine turned the connection to."""
    address, port = packet.daddr or "", packet.dport or 0
    if ip_address(address).is_loopback:
        return True, Answer("unknown", "it is turned to the loopback, which takes net.ipv4.conf.*.route_localnet")
    if asked.listeners is None:
        return True, Answer("unknown", f"it is turned to port {port}, of which nobody told who listens there")
    taken = tuple(each.address for each in asked.listeners if each.port == port)
    if {"0.0.0.0", "::"}.isdisjoint(taken) and taken and address == packet.orig_daddr:
        # "redirect" takes the interface's first address, "dnat to :port" keeps the one that was asked.
        return True, Answer("unknown", f"it is turned to port {port}, where single addresses are listened on")
    return _taken(port, address, taken, asked.firewall), None


def _returns(interface: Interface, sender: str | None) -> bool | None:
    """Tell whether the route back to the sender leaves where its packet came in, None when nobody can."""
    if sender is None or interface.default:
        return True
    nets = [at.network for each in interface.addresses if (at := _interface(each)) is not None]
    return True if any(ip_address(sender) in net for net in nets if net.version == ip_address(sender).version) else None


def _leads_to(address: str, interfaces: Sequence[Interface]) -> str | None:
    at = ip_address(address)
    for each in interfaces:
        for own in map(_interface, each.addresses):
            if own is not None and own.version == at.version and at in own.network:
                return each.name
    return None
