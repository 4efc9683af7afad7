"""What the packet filter does with the first packet of a connection: every rule it meets, and what nobody can tell.

A rule that looks at something not known here (the sender, when none is named) or not understood may match or not;
then both ways are followed. What all of them end in is certain; otherwise the rules that decide are named.
"""

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, NamedTuple

from gpudoctor.facts.firewall import Chain, Match, Rule

Fate = Literal["accept", "drop", "reject", "depends", "unknown"]
_MAX_DEPTH = 32
#: Fields of a packet that somebody else decides; all others that are not known are a gap in our knowledge.
_OTHERS = ("saddr", "sport")


class Packet(NamedTuple):
    """The first packet of a TCP connection, at one point of its way. None is what is not known."""

    family: Literal["ip", "ip6"]
    iif: str
    daddr: str
    dport: int
    saddr: str | None = None
    oif: str | None = None
    local: bool = True
    turned: bool = False
    orig_daddr: str | None = None
    orig_dport: int | None = None


class Answer(NamedTuple):
    """What happens to it, and the rule that decides, in its own words; empty where the policy does or none."""

    fate: Fate
    rule: str = ""


class _End(NamedTuple):
    kind: str
    rule: str
    target: str | None = None


class _Walk:
    """One packet on its way through the chains of one table."""

    def __init__(self, chains: Sequence[Chain], packet: Packet) -> None:
        self._by_name = {(each.family, each.table, each.name): each for each in chains}
        self._packet = packet
        self._known: dict[tuple[str, str, str], tuple[list[_End], bool]] = {}
        #: Rules of which nobody knows whether they match, those that only the sender decides first.
        self.by_sender: list[str] = []
        self.beyond_us: list[str] = []

    def through(self, chain: Chain) -> list[_End]:
        """Return every end that the packet may come to in a base chain."""
        ends, falls = self._run(chain, 0)
        policy = chain.policy or "accept"
        words = f"{chain.family} {chain.table} {chain.name}: policy {policy}"
        return [*ends, _End("accept" if policy == "accept" else "drop", words)] if falls else ends

    def _run(self, chain: Chain, depth: int) -> tuple[list[_End], bool]:
        """Return the ends inside a chain, and whether the packet may come out behind it."""
        place = (chain.family, chain.table, chain.name)
        if place not in self._known:
            self._known[place] = ([_End("unread", "a chain that leads to itself")], True)  # while it is walked
            self._known[place] = self._rules(chain, depth)
        return self._known[place]

    def _rules(self, chain: Chain, depth: int) -> tuple[list[_End], bool]:
        ends: list[_End] = []
        for rule in chain.rules:
            if rule.verdict == "continue":
                continue
            sure = self._meets(rule)
            if sure is False:
                continue
            if rule.verdict in ("jump", "goto"):
                below = self._by_name.get((chain.family, chain.table, rule.target or ""))
                inner, falls = self._run(below, depth + 1) if below and depth < _MAX_DEPTH else ([], True)
                ends += inner
                if sure and (not falls or rule.verdict == "goto"):
                    return ends, falls
            elif rule.verdict == "return":
                if sure:
                    return ends, True
            else:
                ends.append(_End(rule.verdict, rule.text, rule.target))
                if sure and rule.verdict != "unread":
                    return ends, False
        return ends, True

    def _meets(self, rule: Rule) -> bool | None:
        """Tell whether a rule is for this packet; None where nobody can tell."""
        doubt: list[Match] = []
        for match in rule.matches:
            met = _met(match, self._packet)
            if met is False:
                return False
            if met is None:
                doubt.append(match)
        if not doubt:
            return True
        sender = all(each.field in _OTHERS for each in doubt)
        (self.by_sender if sender else self.beyond_us).append(rule.text)
        return None


def fate(chains: Sequence[Chain], hooks: Iterable[str], packet: Packet) -> Answer:
    """Return what the filters at these hooks do with the packet."""
    doubt: Answer | None = None
    for hook in hooks:
        for chain in _at(chains, hook, "filter", packet):
            walk = _Walk(chains, packet)
            ends = walk.through(chain)
            kinds = {each.kind for each in ends}
            last = ends[-1]
            if kinds <= {"drop", "reject"}:
                return Answer("reject" if kinds == {"reject"} else "drop", last.rule)
            if kinds != {"accept"} and doubt is None:
                beyond = [*walk.beyond_us, *(each.rule for each in ends if each.kind == "unread")]
                doubt = Answer("unknown", beyond[0]) if beyond else Answer("depends", "; ".join(walk.by_sender[:3]))
    return doubt or Answer("accept")


def turned(chains: Sequence[Chain], packet: Packet) -> "Packet | Answer":
    """Return the packet as destination NAT leaves it, or an answer where that cannot be told."""
    for chain in _at(chains, "prerouting", "nat", packet):
        walk = _Walk(chains, packet)
        ends = walk.through(chain)
        if len(ends) == 1 and ends[0].kind == "dnat":
            return _sent_to(packet, ends[0])
        if any(each.kind in ("dnat", "unread") for each in ends):
            beyond = [*walk.beyond_us, *(each.rule for each in ends if each.kind == "unread")]
            return Answer("unknown", beyond[0]) if beyond else Answer("depends", "; ".join(walk.by_sender[:3]))
    return packet


def _sent_to(packet: Packet, end: _End) -> "Packet | Answer":
    address, port = _address_and_port(end.target or "")
    if port is None or (address and _address(address) is None):
        return Answer("unknown", end.rule)
    return packet._replace(
        daddr=address or packet.daddr, dport=port or packet.dport, turned=True, local=not address,
        orig_daddr=packet.daddr, orig_dport=packet.dport,
    )  # fmt: skip


def _address_and_port(text: str) -> tuple[str, int | None]:
    """Read ``10.0.0.1:80``, ``[fd00::1]:80``, ``10.0.0.1``, ``:80``; no port is 0, one that is no number None."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") > 1:
        address, port = text, ""
    else:
        address, _, port = text.partition(":")
    if not port:
        return address, 0
    return address, int(port) if port.isascii() and port.isdigit() and int(port) < 65536 else None


def _at(chains: Sequence[Chain], hook: str, kind: str, packet: Packet) -> Iterator[Chain]:
    found = [each for each in chains if each.hook == hook and (each.kind == "nat") == (kind == "nat")
             and (each.family in (packet.family, "inet") or (each.family == "netdev" and each.device == packet.iif))]
    return iter(sorted(found, key=lambda each: each.priority or 0))


def _met(match: Match, packet: Packet) -> bool | None:
    met = _one_of(match, packet)
    return met if met is None else met != match.negated


def _one_of(match: Match, packet: Packet) -> bool | None:
    field, values = match.field, match.values
    if field == "unread" or not values:
        return None
    if field in ("saddr", "daddr", "orig-daddr"):
        # What was never turned has its own destination for the first one.
        at = {"saddr": packet.saddr, "daddr": packet.daddr, "orig-daddr": packet.orig_daddr or packet.daddr}[field]
        return _inside(at, values)
    if field in ("dport", "orig-dport"):
        return _in_ranges(packet.orig_dport or packet.dport if field == "orig-dport" else packet.dport, values)
    if field in ("iif", "oif"):
        name = packet.iif if field == "iif" else packet.oif
        return None if name is None else any(fnmatch.fnmatchcase(name, value) for value in values)
    if field == "sport":
        return None
    if field == "dst-type":
        return ("local" if packet.local else "unicast") in values
    told = {"protocol": ("tcp", "6", "all"), "state": ("new",), "family": (packet.family,),
            "status": ("dnat",) if packet.turned else ()}  # fmt: skip
    return any(value.lower() in told[field] for value in values)


def _inside(address: str | None, values: Sequence[str]) -> bool | None:
    if address is None:
        return True if all(value in ("0.0.0.0/0", "::/0") for value in values) else None
    at = _address(address)
    if at is None:
        return None
    return any(_holds(value, at) for value in values)


def _holds(value: str, at: IPv4Address | IPv6Address) -> bool:
    first, dash, last = value.partition("-")
    try:
        if dash:
            low, high = ip_address(first), ip_address(last)
            return low.version == high.version == at.version and int(low) <= int(at) <= int(high)
        return at in ip_network(value, strict=False)
    except ValueError:
        return False


def _in_ranges(port: int, values: Sequence[str]) -> bool | None:
    for value in values:
        first, dash, last = value.partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            return None
        if int(first[:6]) <= port <= int((last or first)[:6]):
            return True
    return False


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
