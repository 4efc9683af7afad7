"""What stands between a port of this machine and another one: its addresses and its packet filter.

Gatekeeper: ``serving.firewall-unread``. Only ``gpudoctor serving`` reads it.
"""

from typing import Annotated, Literal

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Part, Section, Unavailable

#: What a rule does. ``unread``: something that is not understood here. ``continue``: nothing that decides.
Verdict = Literal["accept", "drop", "reject", "return", "jump", "goto", "dnat", "continue", "unread"]
#: What a rule looks at. ``unread``: something that is not understood here.
Field = Literal["iif", "oif", "saddr", "daddr", "protocol", "dport", "sport", "state", "status", "direction",
                "dst-type", "family", "orig-daddr", "orig-dport", "mark", "flags", "pkttype", "rpath",
                "unread"]  # fmt: skip


class Match(Item, frozen=True, kw_only=True):
    """One condition: the field is one of the values, or none of them.

    Values are ``80``, ``80-90``, ``10.0.0.0/8``, ``eth*``, a word, ``value/mask`` of a mark, ``mask/flags`` of TCP's
    flags (``any/flags``: one of them); none where they are too many or not told.
    """

    field: Field
    values: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()
    negated: bool = False


class Rule(Item, frozen=True, kw_only=True):
    """One rule. ``target`` is a chain, or ``address:port`` for ``dnat`` (``:port`` keeps the address, this machine's).

    ``alters`` names what it rewrites for later rules: ``state`` (notrack), ``mark/0x4000`` (these bits of the mark).
    ``text`` is how it is shown to people.
    """

    verdict: Verdict
    matches: Annotated[tuple[Match, ...], Meta(max_length=64)] = ()
    target: str | None = None
    alters: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    text: str = ""


class Chain(Item, frozen=True, kw_only=True):
    """One chain. ``hook``, ``priority`` and ``policy`` are None for one that is only jumped to.

    ``family`` is nftables' word: ``ip``, ``ip6``, ``inet`` for both, or ``netdev`` for one ``device``.
    """

    family: str
    table: str
    name: str
    kind: str = "filter"
    hook: str | None = None
    priority: int | None = None
    policy: str | None = None
    device: str | None = None
    rules: Annotated[tuple[Rule, ...], Meta(max_length=20_000)] = ()


class Ruleset(Part, frozen=True, kw_only=True):
    """Every rule that can stop a packet. ``unseen`` says what could not be listed; None when all was."""

    chains: Annotated[tuple[Chain, ...], Meta(max_length=10_000)] = ()
    unseen: str | None = None


class Interface(Item, frozen=True, kw_only=True):
    """One network interface; ``addresses`` as ``192.168.1.20/24``. ``default``: a default route leaves through it."""

    name: str
    addresses: Annotated[tuple[str, ...], Meta(max_length=256)] = ()
    default: bool = False


class Firewall(Section, frozen=True, kw_only=True):
    """Addresses and rules.

    Attributes:
        managers: What keeps the rules: ``ufw``, ``firewalld``.
        forwards: Whether IPv4 packets are passed on to containers (``net.ipv4.ip_forward``); None when not told.
        forwards_ipv6: The same of IPv6.
        only_ipv6: Ports whose wildcard listener takes no IPv4; None when that could not be told.
    """

    interfaces: Annotated[tuple[Interface, ...], Meta(max_length=1024)] = ()
    rules: Ruleset | Unavailable = NOT_RECORDED
    managers: Annotated[tuple[str, ...], Meta(max_length=8)] = ()
    forwards: bool | None = None
    forwards_ipv6: bool | None = None
    only_ipv6: Annotated[tuple[int, ...], Meta(max_length=65536)] | None = None
