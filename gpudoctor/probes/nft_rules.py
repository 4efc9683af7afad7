"""Reading what ``nft -j list ruleset`` prints: chains and rules, as far as they can stop or turn a TCP connection."""

import json
from collections.abc import Sequence
from typing import Any

from gpudoctor.facts.firewall import Chain, Field, Match, Rule, Verdict

_MAX_VALUES = 512
_MAX_RULES = 20_000
_MAX_MATCHES = 32
_ENDS: dict[str, Verdict] = {"accept": "accept", "drop": "drop", "reject": "reject", "return": "return"}
_JUMPS: dict[str, Verdict] = {"jump": "jump", "goto": "goto"}
#: Statements that decide nothing about a connection's first packet.
_IDLE = ("counter", "log", "comment", "flow", "dup", "ct helper", "ct timeout", "last", "secmark", "masquerade",
         "snat")  # fmt: skip
_META: dict[str, Field] = {"iif": "iif", "iifname": "iif", "oif": "oif", "oifname": "oif", "l4proto": "protocol",
                           "nfproto": "family", "protocol": "family", "pkttype": "pkttype"}
_CT: dict[str, Field] = {"state": "state", "status": "status", "ip daddr": "orig-daddr", "ip6 daddr": "orig-daddr",
                         "daddr": "orig-daddr", "proto-dst": "orig-dport", "direction": "direction"}
_PAYLOAD: dict[str, Field] = {"saddr": "saddr", "daddr": "daddr", "dport": "dport", "sport": "sport",
                              "protocol": "protocol", "nexthdr": "protocol"}
#: Headers whose fields are those of _PAYLOAD; "th" is TCP's or UDP's.
_HEADERS = ("ip", "ip6", "tcp", "udp", "sctp", "th")
_FAMILIES = {"ip": "ip", "ip6": "ip6", "ipv4": "ip", "ipv6": "ip6"}
_RANGES = {">": lambda n: f"{n + 1}-65535", ">=": lambda n: f"{n}-65535", "<": lambda n: f"0-{n - 1}",
          "<=": lambda n: f"0-{n}"}


class Tables:
    """A rule set as nftables tells it. ``foreign`` are the tables in which iptables' own modules do the work."""

    def __init__(self, text: str) -> None:
        """Read nft's JSON.

        Raises:
            ValueError: It is no such document, or is beyond any real one.
        """
        told = json.loads(text)
        items = told.get("nftables") if isinstance(told, dict) else None
        if not isinstance(items, list):
            raise ValueError("no list of tables")
        self._sets: dict[tuple[str, str, str], list[Any]] = {}
        self._chains: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._rules: dict[tuple[str, str, str], list[Rule]] = {}
        self.foreign: set[tuple[str, str]] = set()
        parts = [(kind, body) for item in items if isinstance(item, dict) for kind, body in item.items()
                 if isinstance(body, dict)]  # fmt: skip
        for kind, body in parts:
            if kind in ("set", "map"):
                elements = body.get("elem")
                self._sets[_place(body, "name")] = elements if isinstance(elements, list) else []
            elif kind == "chain":
                self._chains[_place(body, "name")] = body
        rules = [body for kind, body in parts if kind == "rule"]
        if len(rules) > _MAX_RULES:
            raise ValueError(f"more than {_MAX_RULES} rules")
        for body in rules:
            family, table, chain = place = _place(body, "chain")
            expressions = body.get("expr")
            told_as = [each for each in expressions if isinstance(each, dict)] if isinstance(expressions, list) else []
            if any("xt" in each for each in told_as):
                self.foreign.add((family, table))
            self._rules.setdefault(place, []).extend(self._read(told_as, family, table, chain))

    @property
    def chains(self) -> tuple[Chain, ...]:
        """All chains of families that see IP packets of this machine."""
        return tuple(
            Chain(
                family=family, table=table, name=name, kind=str(body.get("type") or "filter"),
                hook=_text(body.get("hook")), priority=body["prio"] if isinstance(body.get("prio"), int) else None,
                policy=(_text(body.get("policy")) or "accept") if body.get("hook") else None,
                device=device, rules=tuple(self._rules.get((family, table, name), ())),
            )
            for (family, table, name), body in self._chains.items()
            if family in ("ip", "ip6", "inet", "netdev")
            for device in _devices(body.get("dev"))
        )  # fmt: skip

    @property
    def unjudged(self) -> str | None:
        """The family of tables that stop packets at another layer, None when there is none that may."""
        for (family, table, name), body in self._chains.items():
            other = family in ("bridge", "arp") or (family == "netdev" and body.get("hook") == "egress")
            ends = any(rule.verdict in ("drop", "reject", "unread", "jump", "goto")
                       for rule in self._rules.get((family, table, name), ()))  # fmt: skip
            if other and body.get("hook") and (ends or body.get("policy") == "drop"):
                return f"{family} {table} {name}"
        return None

    def _read(self, told: Sequence[dict[str, Any]], family: str, table: str, chain: str) -> list[Rule]:
        """Return one rule, or one for each element of a verdict map or of a set of several fields."""
        matches: list[Match] = []
        several: list[list[Match]] = [[]]
        alters: list[str] = []
        verdict: Verdict = "continue"
        target: str | None = None
        for each in told:
            name, body = next(iter(each.items()), ("", None))
            if name == "match" and isinstance(body, dict) and _parts(body.get("left")):
                several = self._concatenated(body, family, table)
            elif name == "match" and isinstance(body, dict):
                matches += self._match(body, family, table)
            elif name == "vmap" and isinstance(body, dict):
                return self._by_map(body, matches, family, table, chain)
            elif name in _ENDS:
                verdict = _ENDS[name]
            elif name in _JUMPS:
                verdict, target = _JUMPS[name], _text(body.get("target")) if isinstance(body, dict) else None
            elif name in ("dnat", "redirect"):
                verdict, target = "dnat", _destination(body)
                if target is None:
                    verdict = "unread"
                told_family = body.get("family") if isinstance(body, dict) else None
                if told_family in ("ip", "ip6"):
                    matches.append(Match(field="family", values=(told_family,)))
            elif name == "mangle":
                altered = _altered(body)
                alters += altered
                if altered == ["address"]:
                    verdict = "unread"
            elif name == "notrack":
                alters.append("state")
            elif name == "xt" and isinstance(body, dict) and body.get("type") == "match":
                matches.append(Match(field="unread", values=(str(body.get("name"))[:50],)))
            elif name == "set" and isinstance(body, dict) and not body.get("stmt"):
                continue
            elif name not in _IDLE:
                if name in ("xt", "queue", "tproxy", "synproxy", "fwd"):
                    verdict = "unread"
                else:
                    matches.append(Match(field="unread", values=(name[:50],)))
        return [_rule(chain, family, table, [*matches, *more], verdict, target, alters) for more in several]

    def _concatenated(self, body: dict[str, Any], family: str, table: str) -> list[list[Match]]:
        """Return the conditions of each element of a set of several fields; one that is not understood for none."""
        unread = [[Match(field="unread", values=(json.dumps(body.get("left"))[:100],))]]
        right = body.get("right")
        if isinstance(right, str) and right.startswith("@"):
            right = self._elements(right, family, table)
        elif isinstance(right, dict) and "set" in right:
            right = right["set"]
        else:
            right = [right]
        if body.get("op") not in ("==", "in") or not isinstance(right, list) or len(right) > _MAX_VALUES:
            return unread
        lefts, found = _parts(body.get("left")), []
        for each in right:
            if isinstance(each, dict) and isinstance(each.get("elem"), dict):
                each = each["elem"].get("val")
            rights = _parts(each)
            if len(rights) != len(lefts):
                return unread
            found.append([match for left, value in zip(lefts, rights, strict=True)
                          for match in self._match({"op": "==", "left": left, "right": value}, family, table)])
        # A set without elements holds nothing.
        return found or [[Match(field="protocol", values=("none",))]]

    def _by_map(self, body: dict[str, Any], matches: list[Match], family: str, table: str, chain: str) -> list[Rule]:
        data = body.get("data")
        pairs = self._elements(data, family, table) if isinstance(data, str) else None
        if isinstance(data, dict):
            pairs = data.get("set")
        field = _field(body.get("key"))
        if not isinstance(pairs, list) or len(pairs) > _MAX_VALUES or field == "unread":
            return [_rule(chain, family, table, matches, "unread", None)]
        found: list[Rule] = []
        for pair in pairs:
            if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], dict)):
                return [_rule(chain, family, table, matches, "unread", None)]
            key = {"op": "==", "left": body.get("key"), "right": pair[0]}
            narrowed = matches if pair[0] == "*" else [*matches, *self._match(key, family, table)]
            name, what = next(iter(pair[1].items()), ("", None))
            if name in _ENDS:
                found.append(_rule(chain, family, table, narrowed, _ENDS[name], None))
            elif name in _JUMPS and isinstance(what, dict):
                found.append(_rule(chain, family, table, narrowed, _JUMPS[name], _text(what.get("target"))))
            elif name != "continue":
                found.append(_rule(chain, family, table, narrowed, "unread", None))
        return found

    def _match(self, body: dict[str, Any], family: str, table: str) -> list[Match]:
        left, right, op = body.get("left"), body.get("right"), body.get("op")
        field = _field(left)
        flags = _flags(left, op, right)
        if flags is not None:
            return [Match(field="protocol", values=("tcp",)), flags]
        if _is_masked_mark(left):
            return [_mark(left, op, right)]
        payload = left.get("payload") if isinstance(left, dict) else None
        protocol = payload.get("protocol") if isinstance(payload, dict) else None
        # "ip saddr" in a table of both families is about IPv4 packets only.
        implied: list[Match] = []
        if protocol in ("ip", "ip6") and family != protocol:
            implied = [Match(field="family", values=(str(protocol),))]
        elif protocol in ("tcp", "udp", "sctp", "icmp", "icmpv6"):
            implied = [Match(field="protocol", values=(str(protocol),))]
        if op in _RANGES and isinstance(right, int) and field in ("dport", "sport", "orig-dport"):
            return [*implied, Match(field=field, values=(_RANGES[op](right),))]
        if isinstance(left, dict) and left.get("meta") == {"key": "mark"} and op in ("==", "!=") and isinstance(
                right, int):
            return [Match(field="mark", values=(str(right),), negated=op == "!=")]
        if protocol == "ether" and isinstance(payload, dict) and payload.get("field") == "saddr":
            # Whose card it is, only the sender knows.
            return [Match(field="saddr")]
        if _is_way_back(left) and isinstance(right, bool):
            return [Match(field="rpath", values=("found" if right else "missing",), negated=op == "!=")]
        if field == "unread" or op not in ("==", "!=", "in"):
            return [*implied, Match(field="unread", values=(json.dumps(left)[:100],))]
        return [*implied, Match(field=field, values=self._values(right, field, family, table), negated=op == "!=")]

    def _elements(self, name: str, family: str, table: str) -> list[Any] | None:
        return self._sets.get((family, table, name.removeprefix("@")))

    def _values(self, right: Any, field: Field, family: str, table: str) -> tuple[str, ...]:
        """Return the values, none where they cannot be told: then nobody knows whether the rule matches."""
        if isinstance(right, str) and right.startswith("@"):
            right = self._elements(right, family, table) or []
        elif isinstance(right, dict) and "set" in right:
            right = right["set"]
        elif isinstance(right, dict) and "|" in right:
            right = right["|"]
        listed = right if isinstance(right, list) else [right]
        if len(listed) > _MAX_VALUES:
            return ()
        values = [_value(each) for each in listed]
        if field == "family":
            values = [_FAMILIES.get(each or "") for each in values]
        return () if None in values else tuple(str(each) for each in values)


def _place(body: dict[str, Any], last: str) -> tuple[str, str, str]:
    return (str(body.get("family"))[:16], str(body.get("table"))[:256], str(body.get(last))[:256])


def _text(value: Any) -> str | None:
    return value[:256] if isinstance(value, str) else None


def _field(left: Any) -> Field:
    if not isinstance(left, dict):
        return "unread"
    kind, body = next(iter(left.items()), ("", None))
    if not isinstance(body, dict):
        return "unread"
    if kind == "payload":
        return _PAYLOAD.get(str(body.get("field")), "unread") if body.get("protocol") in _HEADERS else "unread"
    if kind == "meta":
        return _META.get(str(body.get("key")), "unread")
    if kind == "ct":
        found = _CT.get(str(body.get("key")), "unread")
        return "unread" if found.startswith("orig") and body.get("dir") != "original" else found
    if kind == "fib" and body.get("result") == "type" and body.get("flags") in (["daddr"], ["daddr", "iif"]):
        return "dst-type"
    return "unread"


def _parts(told: Any) -> list[Any]:
    parts = told.get("concat") if isinstance(told, dict) else None
    return parts if isinstance(parts, list) else []


def _devices(told: Any) -> list[str | None]:
    """Return the devices of a chain; none for one that is at no device."""
    listed = told if isinstance(told, list) else [told]
    return [_text(each) for each in listed[:64]] or [None]


def _altered(body: Any) -> list[str]:
    """Return what a statement rewrites: bits of the mark, ``address`` for what decides where a packet goes."""
    key, value = (body.get("key"), body.get("value")) if isinstance(body, dict) else (None, None)
    if not isinstance(key, dict):
        return ["address"]
    if key.get("meta") == {"key": "mark"}:
        own = {"meta": {"key": "mark"}}
        bits = value if isinstance(value, int) else 0xFFFFFFFF
        for operation in ("|", "&", "^"):
            parts = value.get(operation) if isinstance(value, dict) else None
            if isinstance(parts, list) and len(parts) == 2 and parts[0] == own and isinstance(parts[1], int):
                bits = 0 if operation == "&" else parts[1]
        return [f"mark/{bits & 0xFFFFFFFF:#x}"]
    payload = key.get("payload")
    idle = isinstance(payload, dict) and payload.get("field") not in ("saddr", "daddr", "sport", "dport", "protocol")
    return [] if idle or "ct" in key or "meta" in key else ["address"]


def _words(told: Any) -> list[str] | None:
    """Return the names of flags, written one by one, as a list or joined by ``|``; None for anything else."""
    if isinstance(told, dict) and set(told) == {"|"}:
        told = told["|"]
    if isinstance(told, str):
        return [told]
    if told == 0 and not isinstance(told, bool):
        return []
    if not isinstance(told, list):
        return None
    found = [_words(each) for each in told[:16]]
    return None if None in found else [word for each in found for word in each or ()]


def _flags(left: Any, op: Any, right: Any) -> Match | None:
    """Return a condition on TCP's flags, None for one on anything else."""
    masked = left.get("&") if isinstance(left, dict) else None
    payload, mask = (masked[0], masked[1]) if isinstance(masked, list) and len(masked) == 2 else (left, None)
    if not isinstance(payload, dict) or payload.get("payload") != {"protocol": "tcp", "field": "flags"}:
        return None
    wanted, looked = _words(right), _words(mask)
    listed = ",".join(wanted or ())
    if wanted is None or (mask is not None and looked is None):
        return Match(field="unread", values=(json.dumps(left)[:100],))
    if mask is not None and op in ("==", "!="):
        return Match(field="flags", values=(f"{','.join(looked or ())}/{listed}",), negated=op == "!=")
    if mask is None and op in ("in", "!"):
        return Match(field="flags", values=(f"any/{listed}",), negated=op == "!")
    # Without a mask all flags are compared, ECN's too, of which the sender decides.
    return Match(field="sport")


def _is_masked_mark(left: Any) -> bool:
    masked = left.get("&") if isinstance(left, dict) else None
    return isinstance(masked, list) and len(masked) == 2 and masked[0] == {"meta": {"key": "mark"}}


def _mark(left: Any, op: Any, right: Any) -> Match:
    mask = left["&"][1]
    if op not in ("==", "!=") or not isinstance(mask, int) or not isinstance(right, int):
        return Match(field="unread", values=(json.dumps(left)[:100],))
    return Match(field="mark", values=(f"{right}/{mask}",), negated=op == "!=")


def _is_way_back(left: Any) -> bool:
    """True for the question whether a route leads back to the sender through the interface it came in by."""
    fib = left.get("fib") if isinstance(left, dict) else None
    return (isinstance(fib, dict) and fib.get("result") == "oif" and isinstance(fib.get("flags"), list)
            and {*map(str, fib["flags"])} in ({"saddr", "iif"}, {"saddr", "mark", "iif"}))  # fmt: skip


def _value(told: Any) -> str | None:
    if isinstance(told, bool):
        return None
    if isinstance(told, str | int):
        return str(told)[:200]
    if isinstance(told, dict):
        kind, body = next(iter(told.items()), ("", None))
        if kind == "prefix" and isinstance(body, dict):
            return f"{body.get('addr')}/{body.get('len')}"[:200]
        if kind == "range" and isinstance(body, list) and len(body) == 2:
            return f"{body[0]}-{body[1]}"[:200]
        if kind == "elem" and isinstance(body, dict):
            return _value(body.get("val"))
    return None


def _destination(body: Any) -> str | None:
    """Return ``address:port`` of a dnat, ``:port`` of a redirect; None where it is looked up in a map."""
    if not isinstance(body, dict):
        return None
    address, port = body.get("addr", ""), body.get("port", "")
    if not isinstance(address, str) or not isinstance(port, int | str):
        return None
    shown = f"[{address}]" if ":" in address else address
    return f"{shown}:{port}" if port != "" else shown


def _rule(
    chain: str, family: str, table: str, matches: Sequence[Match], verdict: Verdict, target: str | None,
    alters: Sequence[str] = (),
) -> Rule:  # fmt: skip
    words = [f"{each.field}{' !=' if each.negated else ''} {','.join(each.values[:8]) or '(many)'}" for each in matches]
    text = " ".join((f"{family} {table} {chain}:", *words, verdict, *([target] if target else [])))
    kept = tuple(matches) if len(matches) <= _MAX_MATCHES else (Match(field="unread"),)
    return Rule(verdict=verdict, matches=kept, target=target, alters=tuple(alters[:16]), text=text[:300])
