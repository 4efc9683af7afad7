"""Whether a port of this machine is reached from outside, and which layer stops it. Nothing is tried."""

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from typing import Literal, NamedTuple

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.firewall import Chain, Firewall, Interface
from gpudoctor.judging.packets import Answer, Packet, fate, turned

Layer = Literal["", "listening", "firewall", "forwarding"]
Scope = Literal["public", "private", "shared"]
#: Bridges and cables to containers and virtual machines: nobody outside is behind them.
_INSIDE = re.compile(r"lo$|docker|br-[0-9a-f]{12}$|veth|virbr|cni|flannel|podman|lxdbr|lxcbr|cali|kube-|tap|vnet")
#: Between a provider and its customers (RFC 6598), and what Tailscale gives its members.
_SHARED = ip_network("100.64.0.0/10")
_WILDCARDS = {"ip": ("0.0.0.0", "::"), "ip6": ("::",)}


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


def ways(port: int, addresses: Sequence[str], firewall: Firewall, sender: str | None = None) -> tuple[Way, ...]:
    """Return what becomes of connections to a port at each address of this machine that others may use.

    Args:
        port: The port.
        addresses: Where a socket listens, or where a container's port is published.
        firewall: Addresses and rules.
        sender: The other side's address; None when it is not known.
    """
    rules = None if isinstance(firewall.rules, Unavailable) else firewall.rules
    return tuple(
        _way(port, addresses, firewall, rules.chains if rules is not None else None, each, at, sender)
        for each, at in _towards(firewall.interfaces, sender)
    )


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


def _way(
    port: int, addresses: Sequence[str], firewall: Firewall, chains: Sequence[Chain] | None, interface: Interface,
    address: str, sender: str | None,
) -> Way:  # fmt: skip
    family: Literal["ip", "ip6"] = "ip6" if ":" in address else "ip"
    base = Way(address, interface.name, scope_of(address), "accept")
    wildcards = () if family == "ip" and port in (firewall.only_ipv6 or ()) else _WILDCARDS[family]
    takers = ("0.0.0.0", *wildcards) if family == "ip" else wildcards
    listens = address in addresses or any(each in takers for each in addresses)
    if chains is None:
        return base._replace(fate="unknown") if listens else base._replace(fate="refused", layer="listening")
    packet = Packet(family=family, iif=interface.name, daddr=address, dport=port, saddr=sender)
    answer = fate(chains, ("ingress", "prerouting"), packet)
    if answer.fate in ("drop", "reject"):
        return base._replace(fate=answer.fate, layer="firewall", rule=answer.rule)
    after = turned(chains, packet)
    if isinstance(after, Answer):
        return base._replace(fate=after.fate, layer="firewall", rule=after.rule)
    own = {at.split("/")[0] for each in firewall.interfaces for at in each.addresses}
    after = after._replace(local=after.daddr in own)
    if after.local:
        doubt = answer if answer.fate != "accept" else None
        answer = fate(chains, ("input",), after)
        listens = listens or after.turned
        if answer.fate == "accept" and not listens:
            return base._replace(fate="refused", layer="listening")
    else:
        if firewall.forwards is False and family == "ip":
            return base._replace(fate="drop", layer="forwarding", rule="net.ipv4.ip_forward = 0", forwarded=True)
        doubt = answer if answer.fate != "accept" else None
        answer = fate(chains, ("forward",), after._replace(oif=_leads_to(after.daddr, firewall.interfaces)))
        base = base._replace(forwarded=True)
    answer = doubt if doubt is not None and answer.fate == "accept" else answer
    if answer.fate == "accept":
        unseen = not isinstance(firewall.rules, Unavailable) and firewall.rules.unseen
        return base._replace(fate="unknown", rule=unseen) if unseen else base
    return base._replace(fate=answer.fate, layer="firewall", rule=answer.rule)


def _leads_to(address: str, interfaces: Sequence[Interface]) -> str | None:
    at = ip_address(address)
    for each in interfaces:
        for own in map(_interface, each.addresses):
            if own is not None and own.version == at.version and at in own.network:
                return each.name
    return None
