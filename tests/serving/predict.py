"""Run inside a network namespace: read its rules with the real probe and print what is foretold for ports.

Every line of standard input is a list of questions ``[port, sender or null]``; every line of output their answers.
"""

import json
import sys
from pathlib import Path

from gpudoctor.facts.firewall import Firewall
from gpudoctor.facts.network import Listener
from gpudoctor.judging.reach import ways
from gpudoctor.probes import firewall
from gpudoctor.probes.processes import parse_sockets
from gpudoctor.probes.root import Root


def look(root: Root) -> tuple[Firewall, tuple[Listener, ...]]:
    """Read addresses, rules and listeners of this namespace."""
    sockets = [each for name in ("tcp", "tcp6") for each in parse_sockets(Path(f"/proc/net/{name}").read_text())]
    facts = Firewall(
        interfaces=firewall._interfaces(root), rules=firewall._rules(root), forwards=firewall._forwards(root),
        forwards_ipv6=firewall._forwards(root, "ipv6/conf/all/forwarding"), only_ipv6=firewall._only_ipv6(),
    )  # fmt: skip
    return facts, tuple(Listener(port=each.port, address=each.address) for each in sockets)


def main() -> None:
    """Answer until the input ends."""
    root = Root("/")
    for line in sys.stdin:
        facts, listeners = look(root)
        answers = []
        for port, sender in json.loads(line):
            addresses = tuple(each.address for each in listeners if each.port == port)
            found = ways(port, addresses, facts, sender, listeners)
            answers.append([[way.address, way.fate, way.layer, way.rule, way.forwarded] for way in found])
        print(json.dumps(answers), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
