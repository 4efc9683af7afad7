"""Reading what ``iptables-save`` prints: chains and rules, as far as they can stop or turn a TCP connection."""

import shlex
from collections.abc import Iterator

from gpudoctor.facts.firewall import Chain, Field, Match, Rule, Verdict

#: Table and chain -> hook and priority, as the kernel registers them.
_PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
_HOOKS = {"PREROUTING": "prerouting", "INPUT": "input", "FORWARD": "forward", "OUTPUT": "output"}
_FIELDS: dict[str, Field] = {
    "-i": "iif", "--in-interface": "iif", "-o": "oif", "--out-interface": "oif", "-s": "saddr", "--source": "saddr",
    "-d": "daddr", "--destination": "daddr", "-p": "protocol", "--protocol": "protocol", "--dport": "dport",
    "--destination-port": "dport", "--dports": "dport", "--destination-ports": "dport", "--sport": "sport",
    "--source-port": "sport", "--sports": "sport", "--ctstate": "state", "--state": "state", "--dst-type": "dst-type",
    "--ctstatus": "status", "--ctorigdst": "orig-daddr", "--ctorigdstport": "orig-dport",
}  # fmt: skip
#: Options of targets and modules that decide nothing here, with what follows them.
_IDLE = ("-m", "--match", "--comment", "--reject-with", "--log-prefix", "--log-level", "--set-xmark", "--set-mark",
         "--nflog-group", "--nflog-prefix", "--ctproto")  # fmt: skip
_TARGETS: dict[str, Verdict] = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "RETURN": "return",
                                "DNAT": "dnat", "REDIRECT": "dnat"}
_NO_END = ("LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "SET", "TRACE", "CT", "TCPMSS", "TOS", "DSCP", "CHECKSUM",
           "MASQUERADE", "SNAT", "NOTRACK")  # fmt: skip
_MAX_TEXT = 300


def chains_of(text: str, family: str) -> Iterator[Chain]:
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
            rules.setdefault(words[1], []).append(_rule(words[2:], line[3:_MAX_TEXT], family, policies))
        elif line == "COMMIT":
            for name, policy in policies.items():
                hook = _HOOKS.get(name) if policy != "-" else None
                yield Chain(
                    family=family, table=table, name=name, kind="nat" if table == "nat" else "filter", hook=hook,
                    priority=_PRIORITIES.get(table, 0) if hook else None, policy=policy.lower() if hook else None,
                    rules=tuple(rules.get(name, ())),
                )  # fmt: skip


def _rule(words: list[str], text: str, family: str, chains: dict[str, str]) -> Rule:
    matches: list[Match] = []
    verdict: Verdict = "continue"
    target: str | None = None
    negated = False
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "!":
            negated = True
            continue
        following = words[at] if at < len(words) else ""
        if word in _FIELDS:
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
        elif word == "--ctdir":
            # A connection's first packet goes its original way.
            matches.append(Match(field="state", values=("new" if following == "ORIGINAL" else "reply",)))
            at += 1
        elif word == "--syn" or (word == "--tcp-flags" and words[at : at + 2] == ["FIN,SYN,RST,ACK", "SYN"]):
            at += 2 if word == "--tcp-flags" else 0
            matches.append(Match(field="state", values=("new",), negated=negated))
        elif word in _IDLE:
            at += 1
        else:
            end = at
            while end < len(words) and not words[end].startswith("-") and words[end] != "!":
                end += 1
            if verdict == "continue" and target is None:  # what follows -j are options of the target
                matches.append(Match(field="unread", values=(" ".join(words[at - 1 : end])[:100],)))
            at = end
        negated = False
    return Rule(verdict=verdict, matches=tuple(matches), target=target, text=text)


def _target(name: str, how: Verdict, chains: dict[str, str]) -> tuple[Verdict, str | None]:
    if name in chains:
        return how, name
    if name in _NO_END:
        return "continue", name
    return _TARGETS.get(name, "unread"), None


def _values(field: Field, text: str) -> tuple[str, ...]:
    if field in ("dport", "sport", "orig-dport"):
        return tuple(_ports(each) for each in text.split(","))
    if field in ("iif", "oif"):
        return (text[:-1] + "*" if text.endswith("+") else text,)
    return tuple(each.lower() for each in text.split(","))


def _ports(text: str) -> str:
    first, colon, last = text.partition(":")
    return f"{first or 0}-{last or 65535}" if colon else first
