"""Reading what ``iptables-save`` prints: chains and rules, as far as they can stop or turn a TCP connection."""

import shlex
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from gpudoctor.facts.firewall import Chain, Field, Match, Rule, Verdict

#: Table and chain -> hook and priority, as the kernel registers them.
_PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
_HOOKS = {"PREROUTING": "prerouting", "INPUT": "input", "FORWARD": "forward", "OUTPUT": "output"}
_FIELDS: dict[str, Field] = {
    "-i": "iif", "--in-interface": "iif", "-o": "oif", "--out-interface": "oif", "-s": "saddr", "--source": "saddr",
    "-d": "daddr", "--destination": "daddr", "-p": "protocol", "--protocol": "protocol", "--dport": "dport",
    "--destination-port": "dport", "--dports": "dport", "--destination-ports": "dport", "--sport": "sport",
    "--source-port": "sport", "--sports": "sport", "--ctstate": "state", "--state": "state", "--dst-type": "dst-type",
    "--ctstatus": "status", "--ctorigdst": "orig-daddr", "--ctorigdstport": "orig-dport", "--ctdir": "direction",
    "--src-range": "saddr", "--dst-range": "daddr", "--mark": "mark", "--pkt-type": "pkttype",
}  # fmt: skip
#: Options of targets and modules that decide nothing here, with what follows them.
_IDLE = ("-m", "--match", "--comment", "--reject-with", "--log-prefix", "--log-level",
         "--nflog-group", "--nflog-prefix", "--ctproto")  # fmt: skip
_TARGETS: dict[str, Verdict] = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "RETURN": "return",
                                "DNAT": "dnat", "REDIRECT": "dnat"}
_NO_END = ("LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "SET", "TRACE", "CT", "TCPMSS", "TOS", "DSCP", "CHECKSUM",
           "MASQUERADE", "SNAT", "NOTRACK", "TEE", "AUDIT", "SECMARK", "CONNSECMARK", "CLASSIFY")  # fmt: skip
#: Matches of which only the sender decides, with the number of words that follow.
_SENDERS = {"--mac-source": 1, "--src-cc": 1, "--source-country": 1}
_MAX_TEXT = 300
#: As many values as one condition of a snapshot holds.
_MOST_IN_SET = 1024


#: Name of an ipset -> its addresses and networks.
Sets = Mapping[str, tuple[str, ...]]


def chains_of(text: str, family: str, sets: Sets = MappingProxyType({})) -> Iterator[Chain]:
    """Yield the chains of every table; ``family`` is ``ip`` or ``ip6``.

    Raises:
        ValueError: A line is nothing that iptables-save prints.
    """
    table = ""
    policies: dict[str, str] = {}
    rules: dict[str, list[Rule]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            table, policies, rules = line[1:].strip(), {}, {}
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            policies[name] = policy
        elif line.startswith("-A "):
            words = shlex.split(line)
            rules.setdefault(words[1], []).append(_rule(words[2:], line[3:_MAX_TEXT], policies, sets))
        elif line == "COMMIT":
            for name, policy in policies.items():
                hook = _HOOKS.get(name) if policy != "-" else None
                yield Chain(
                    family=family, table=table, name=name, kind="nat" if table == "nat" else "filter", hook=hook,
                    priority=_PRIORITIES.get(table, 0) if hook else None, policy=policy.lower() if hook else None,
                    rules=tuple(rules.get(name, ())),
                )  # fmt: skip


def _rule(words: list[str], text: str, chains: dict[str, str], sets: Sets) -> Rule:
    matches: list[Match] = []
    alters: list[str] = []
    verdict: Verdict = "continue"
    target: str | None = None
    negated = False
    module = ""
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "!":
            negated = True
            continue
        following = words[at] if at < len(words) else ""
        if word == "--mark" and module == "connmark":
            matches.append(Match(field="unread", values=(f"connmark {following}"[:100],)))
            at += 1
        elif word in _FIELDS:
            matches.append(Match(field=_FIELDS[word], values=_values(_FIELDS[word], following), negated=negated))
            at += 1
        elif word in ("-j", "-g", "--jump", "--goto"):
            verdict, target = _target(following, "goto" if word in ("-g", "--goto") else "jump", chains)
            at += 1
        elif word == "--to-destination":
            target = following
            at += 1
        elif word == "--to-ports":
            target = f":{following}"
            at += 1
        elif word == "--syn":
            matches.append(Match(field="flags", values=("fin,syn,rst,ack/syn",), negated=negated))
        elif word == "--tcp-flags":
            mask, flags = (each.lower() for each in [*words[at : at + 2], "", ""][:2])
            matches.append(Match(field="flags", values=(f"{mask}/{'' if flags == 'none' else flags}",),
                                 negated=negated))
            at += 2
        elif word == "--set-xmark":
            value, _, mask = following.partition("/")
            alters.append(f"mark/{_number(value) | _number(mask or '0xffffffff'):#x}")
            at += 1
        elif word in ("--restore-mark", "--set-mark", "--or-mark", "--and-mark", "--xor-mark"):
            alters.append("mark/0xffffffff")
        elif word in ("-m", "--match") and following == "rpfilter":
            matches.append(Match(field="rpath", values=("missing" if "--invert" in words else "found",)))
            options = {"--loose", "--validmark", "--accept-local", "--invert"} & set(words)
            words = [each for each in words if each not in options]
            at += 1
        elif word in _SENDERS:
            matches.append(Match(field="saddr"))
            at += _SENDERS[word]
        elif word == "--match-set" and words[at + 1 : at + 2] == ["src"]:
            matches.append(Match(field="saddr", values=sets.get(following, ()), negated=negated))
            at += 2
        elif word in _IDLE:
            module = following if word in ("-m", "--match") else module
            at += 1
        else:
            end = at
            while end < len(words) and not words[end].startswith("-") and words[end] != "!":
                end += 1
            if verdict == "continue" and target is None:  # what follows -j are options of the target
                matches.append(Match(field="unread", values=(" ".join(words[at - 1 : end])[:100],)))
            at = end
        negated = False
    if "--notrack" in words or "NOTRACK" in words:
        alters.append("state")
    return Rule(verdict=verdict, matches=tuple(matches), target=target, alters=tuple(alters[:16]), text=text)


def _number(text: str) -> int:
    try:
        return int(text, 0) & 0xFFFFFFFF
    except ValueError:
        return 0xFFFFFFFF


def _target(name: str, how: Verdict, chains: dict[str, str]) -> tuple[Verdict, str | None]:
    if name in chains:
        return how, name
    if name in _NO_END:
        return "continue", name
    return _TARGETS.get(name, "unread"), None


def _values(field: Field, text: str) -> tuple[str, ...]:
    if field in ("dport", "sport", "orig-dport"):
        return tuple(_ports(each) for each in text.split(","))
    if field in ("saddr", "daddr"):
        return (text,)
    if field in ("iif", "oif"):
        return (text[:-1] + "*" if text.endswith("+") else text,)
    return tuple(each.lower() for each in text.split(","))


def _ports(text: str) -> str:
    first, colon, last = text.partition(":")
    return f"{first or 0}-{last or 65535}" if colon else first


def sets_of(text: str) -> dict[str, tuple[str, ...]]:
    """Return the addresses of each plain set that ``ipset save`` prints; sets of other kinds are left out."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        plain = words[2:3] in (["hash:ip"], ["hash:net"]) and "netmask" not in words
        if words[:1] == ["create"] and plain:
            found[words[1]] = []
        elif words[:1] == ["add"] and len(words) > 2 and words[1] in found:
            if "nomatch" in words or len(found[words[1]]) >= _MOST_IN_SET:
                del found[words[1]]
            else:
                found[words[1]].append(words[2])
    # A set without addresses holds nobody.
    return {name: tuple(addresses) or ("none",) for name, addresses in found.items()}
