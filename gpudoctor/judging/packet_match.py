"""One packet of a connection, and whether a condition of a rule holds for it: yes, no, or nobody can tell."""

import fnmatch
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, NamedTuple

from gpudoctor.facts.firewall import Match

#: What the other side decides; all else that is not known is a gap in our knowledge.
OTHERS = ("saddr", "sport", "daddr", "dport")
#: From where systems take the port of an outgoing connection (Linux 32768-60999, IANA 49152-65535).
_CLIENT_PORTS = (32768, 65535)
_STATUS = {"new": (), "established": ("seen-reply", "seen_reply", "confirmed")}
#: Words of ``ct status`` that hold for some of a connection's packets.
_SOMETIMES = frozenset(("none", "assured"))
_OF_CONNECTIONS = ("status", "direction", "orig-daddr", "orig-dport")
_FLAGS = frozenset(("fin", "syn", "rst", "psh", "ack", "urg"))


class Packet(NamedTuple):
    """One packet of a TCP connection at one point of its way. None is what is not known.

    ``state`` is ``new`` for the first, ``established`` for those after it and, with ``reply``, for the answers.
    ``turned``: destination NAT gave it another
    address than ``orig_daddr`` and ``orig_dport``. ``returns``: a route leads back to the sender the way it came.
    ``altered`` names what rules may have rewritten on the way (``state``; ``mark/0x1`` for bits of the mark).
    """

    family: Literal["ip", "ip6"]
    iif: str | None
    daddr: str | None
    dport: int | None
    saddr: str | None = None
    sport: int | None = None
    oif: str | None = None
    local: bool = True
    turned: bool = False
    orig_daddr: str | None = None
    orig_dport: int | None = None
    state: Literal["new", "established"] = "new"
    reply: bool = False
    returns: bool | None = None
    tracked: bool = True
    """The kernel knows the connection already: not so at the first hooks (raw, ingress)."""
    altered: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    """Interfaces with addresses of their own: what arrives there is not this packet."""

    @property
    def flags(self) -> frozenset[str]:
        """TCP's flags."""
        return frozenset(("syn",) if self.state == "new" else ("syn", "ack") if self.reply else ("ack",))

    @property
    def mark_bits(self) -> int:
        """The bits of the mark that rules may have set; all others are 0 on a packet from the network."""
        found = 0
        for each in self.altered:
            name, _, bits = each.partition("/")
            if name == "mark":
                found |= int(bits, 16)
        return found


def met(match: Match, packet: Packet) -> bool | None:
    """Tell whether a condition holds for the packet; None where nobody can tell."""
    if match.field in _OF_CONNECTIONS and not packet.tracked and match.field not in packet.altered:
        # Before connections are looked up there is nothing to compare, whatever is asked.
        return False
    found = _one_of(match, packet)
    return found if found is None else found != match.negated


def _one_of(match: Match, packet: Packet) -> bool | None:
    field, values = match.field, match.values
    if field == "unread" or not values or field in packet.altered:
        return None
    if field in ("saddr", "daddr", "orig-daddr"):
        # What was never turned has its own destination for the first one.
        at = {"saddr": packet.saddr, "daddr": packet.daddr, "orig-daddr": packet.orig_daddr or packet.daddr}[field]
        return _inside(at, values)
    if field in ("dport", "orig-dport", "sport"):
        port = {"dport": packet.dport, "sport": packet.sport, "orig-dport": packet.orig_dport or packet.dport}[field]
        return _of_client(values) if port is None else in_ranges(port, values)
    if field in ("iif", "oif"):
        name = packet.iif if field == "iif" else packet.oif
        return None if name is None else any(fnmatch.fnmatchcase(name, value) for value in values)
    if field == "mark":
        return _marked(packet.mark_bits, values)
    if field == "flags":
        return any(_flagged(packet.flags, value) for value in values)
    if field == "rpath":
        # The route back, seen from the answer, is the one that it takes.
        back = True if packet.reply else packet.returns
        return None if back is None else ("found" if back else "missing") in values
    if field == "dst-type":
        return ("local" if packet.local else "unicast") in values
    if field == "status" and not _SOMETIMES.isdisjoint(values):
        return None
    turned = ("dnat",) if packet.turned else ()
    state = (packet.state, *turned) if packet.tracked else ("invalid",)
    told = {"protocol": ("tcp", "6", "all"), "state": state, "family": (packet.family,),
            "status": (*turned, *_STATUS[packet.state]), "pkttype": ("unicast", "host"),
            "direction": ("reply" if packet.reply else "original",)}  # fmt: skip
    return any(value.lower() in told[field] for value in values)


def _marked(bits: int, values: Sequence[str]) -> bool | None:
    """Judge ``value/mask``: bits that no rule sets are 0."""
    unsure = False
    for each in values:
        value, _, mask = each.partition("/")
        try:
            wanted, looked = int(value, 0), int(mask or "0xffffffff", 0)
        except ValueError:
            return None
        if wanted & ~bits & 0xFFFFFFFF == 0 and wanted & ~looked == 0:
            if looked & bits == 0:
                return True
            unsure = True
    return None if unsure else False


def _flagged(sent: frozenset[str], value: str) -> bool:
    """Judge ``mask/flags``: of the flags in the mask exactly these are set; ``any/flags``: one of them is."""
    mask, _, wanted = value.partition("/")
    flags = frozenset(wanted.split(",")) & _FLAGS
    return bool(sent & flags) if mask == "any" else sent & frozenset(mask.split(",")) == flags


def _inside(address: str | None, values: Sequence[str]) -> bool | None:
    if address is None:
        return True if all(value in ("0.0.0.0/0", "::/0") for value in values) else None
    at = as_ip(address)
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


def in_ranges(port: int, values: Sequence[str]) -> bool | None:
    """Tell whether a port is one of ``80`` or ``80-90``; None where a value is neither."""
    for value in values:
        first, dash, last = value.partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            return None
        if int(first[:6]) <= port <= int((last or first)[:6]):
            return True
    return False


def _of_client(values: Sequence[str]) -> bool | None:
    """Judge the other side's own port, which its system takes from the upper half."""
    low, high = in_ranges(_CLIENT_PORTS[0], values), in_ranges(_CLIENT_PORTS[1], values)
    if low is None or high is None:
        return None
    edges = [int(edge[:6]) for value in values for edge in value.partition("-")[::2] if edge]
    inside = any(_CLIENT_PORTS[0] <= edge <= _CLIENT_PORTS[1] for edge in edges if edge not in _CLIENT_PORTS)
    return None if inside or low != high else low


def as_ip(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, None for what is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None
