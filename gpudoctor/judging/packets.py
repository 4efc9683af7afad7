"""What the packet filter does with the packets of a connection: every rule met, and what nobody can tell.

A rule that looks at something not known here (the sender, when none is named) or not understood may match or not;
then both ways are followed. What all of them end in is certain; otherwise the rules that decide are named.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from gpudoctor.facts.firewall import Chain, Match, Rule
from gpudoctor.judging.packet_match import OTHERS, Packet, as_ip, met

Fate = Literal["accept", "drop", "reject", "depends", "unknown"]
_MAX_DEPTH = 32
#: NF_IP_PRI_CONNTRACK of the kernel.
_CONNTRACK_PRIORITY = -200
#: NF_IP_PRI_NAT_DST and NF_IP_PRI_NAT_SRC.
_NAT_PRIORITIES = {"prerouting": -100, "postrouting": 100}


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
        #: What rules that it may meet rewrite.
        self.alters: set[str] = set()

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
        falls = False
        for rule in chain.rules:
            if rule.verdict == "continue" and not rule.alters:
                continue
            sure = self._meets(rule)
            if sure is False:
                continue
            self.alters.update(rule.alters)
            if rule.verdict in ("jump", "goto"):
                below = self._by_name.get((chain.family, chain.table, rule.target or ""))
                if below is None or depth >= _MAX_DEPTH:
                    inner, behind = [_End("unread", rule.text)], True
                else:
                    inner, behind = self._run(below, depth + 1)
                ends += inner
                if rule.verdict == "goto":
                    falls = falls or behind
                if sure and (rule.verdict == "goto" or not behind):
                    return ends, falls
            elif rule.verdict == "return":
                falls = True
                if sure:
                    return ends, True
            elif rule.verdict != "continue":
                ends.append(_End(rule.verdict, rule.text, rule.target))
                if sure and rule.verdict != "unread":
                    return ends, falls
        return ends, True

    def _meets(self, rule: Rule) -> bool | None:
        """Tell whether a rule is for this packet; None where nobody can tell."""
        doubt: list[Match] = []
        for match in rule.matches:
            found = met(match, self._packet)
            if found is False:
                return False
            if found is None:
                doubt.append(match)
        if not doubt:
            return True
        sender = all(each.field in OTHERS for each in doubt)
        (self.by_sender if sender else self.beyond_us).append(rule.text)
        return None

    def doubt(self, ends: Sequence[_End]) -> Answer:
        """Return why it cannot be told, the gaps in our own knowledge first."""
        beyond = [*self.beyond_us, *(each.rule for each in ends if each.kind == "unread")]
        return Answer("unknown", beyond[0]) if beyond else Answer("depends", "; ".join(self.by_sender[:3]))


def fate(
    chains: Sequence[Chain], hooks: Iterable[str], packet: Packet, *, behind_nat: bool = False
) -> tuple[Answer, Packet]:
    """Return what the filters at these hooks do with the packet, and the packet behind them.

    Of the hooks at which addresses are rewritten, only the chains before that are asked; those behind it with
    ``behind_nat``.
    """
    doubt: Answer | None = None
    for hook in hooks:
        for chain in _at(chains, hook, "filter", packet):
            if hook in _NAT_PRIORITIES and ((chain.priority or 0) > _NAT_PRIORITIES[hook]) != behind_nat:
                continue
            packet = packet._replace(tracked=_tracked(chain))
            walk = _Walk(chains, packet)
            ends = walk.through(chain)
            # What a rule rewrites, later rules of the same chain see: they are asked again with that in doubt.
            if walk.alters - packet.altered:
                packet = packet._replace(altered=packet.altered | walk.alters)
                walk = _Walk(chains, packet)
                ends = walk.through(chain)
            found = _judged(walk, ends)
            if found.fate in ("drop", "reject") and _surely(chain, packet):
                return found, packet
            if found.fate in ("drop", "reject"):
                found = Answer("unknown", found.rule)
            doubt = doubt or (found if found.fate != "accept" else None)
    return doubt or Answer("accept"), packet._replace(tracked=True)


def _tracked(chain: Chain) -> bool:
    """False for chains that packets pass before the kernel looks up their connection."""
    first = chain.hook in ("prerouting", "output") and (chain.priority or 0) <= _CONNTRACK_PRIORITY
    return not (first or chain.hook == "ingress")


def _judged(walk: _Walk, ends: Sequence[_End]) -> Answer:
    kinds = {each.kind for each in ends}
    if kinds <= {"drop", "reject"}:
        return Answer("reject" if kinds == {"reject"} else "drop", ends[-1].rule)
    return Answer("accept") if kinds == {"accept"} else walk.doubt(ends)


def turned(chains: Sequence[Chain], packet: Packet) -> "Packet | Answer":
    """Return the packet as destination NAT leaves it, or an answer where that cannot be told or NAT drops it."""
    if "state" in packet.altered:
        return Answer("unknown", "a rule takes connections out of tracking (notrack)")
    found: list[tuple[int, Packet | Answer | None]] = []
    for chain in _at(chains, "prerouting", "nat", packet):
        if found and found[-1][1] is not None and found[-1][0] != (chain.priority or 0):
            break
        walk = _Walk(chains, packet)
        after = _turned(walk, walk.through(chain), packet)
        packet = packet._replace(altered=packet.altered | walk.alters)
        found.append((chain.priority or 0, after))
    told = [each for each in found if each[1] is not None]
    if not told:
        return packet
    if any(each[1] != told[0][1] for each in found if each[0] == told[0][0]):
        return Answer("unknown", "two chains of NAT have one priority: nothing tells which comes first")
    after = told[0][1]
    return after._replace(altered=packet.altered) if isinstance(after, Packet) else after or packet


def _turned(walk: _Walk, ends: Sequence[_End], packet: Packet) -> "Packet | Answer | None":
    """Return what one chain makes of the packet, None when it leaves it as it is."""
    kinds = {each.kind for each in ends}
    if kinds == {"accept"}:
        return None
    if kinds <= {"drop", "reject"}:
        return _judged(walk, ends)
    if len(ends) == 1 and ends[0].kind == "dnat":
        return _sent_to(packet, ends[0])
    return walk.doubt(ends)


def _sent_to(packet: Packet, end: _End) -> "Packet | Answer":
    address, port = _address_and_port(end.target or "")
    if port is None or (address and as_ip(address) is None):
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


def nat_fate(chains: Sequence[Chain], hook: str, packet: Packet) -> Answer:
    """Return whether NAT's own chains at a hook, which may drop as well, let the packet on."""
    for chain in _at(chains, hook, "nat", packet):
        walk = _Walk(chains, packet)
        ends = [each if each.kind != "dnat" else each._replace(kind="accept") for each in walk.through(chain)]
        found = _judged(walk, ends)
        if found.fate != "accept":
            return found
    return Answer("accept")


def _at(chains: Sequence[Chain], hook: str, kind: str, packet: Packet) -> Iterator[Chain]:
    found = [each for each in chains if each.hook == hook and (each.kind == "nat") == (kind == "nat")
             and each.family in (packet.family, "inet", "netdev")
             and (each.device is None or each.device == packet.iif or each.device not in packet.devices)]  # fmt: skip
    return iter(sorted(found, key=lambda each: each.priority or 0))


def _surely(chain: Chain, packet: Packet) -> bool:
    """False for a chain at another device, which may be a bond's cable, or at one that nft did not name."""
    return chain.hook != "ingress" or chain.device == packet.iif
