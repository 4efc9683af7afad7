"""Run inside a network namespace: read its rules with the real probe and print what is foretold for a port."""

import json
import sys
from pathlib import Path

from gpudoctor.facts.firewall import Firewall
from gpudoctor.judging.reach import ways
from gpudoctor.probes import firewall
from gpudoctor.probes.processes import parse_sockets
from gpudoctor.probes.root import Root


def main() -> None:
    """Arguments: port, sender or ``-``."""
    port, sender = int(sys.argv[1]), None if sys.argv[2] == "-" else sys.argv[2]
    root = Root("/")
    sockets = [each for name in ("tcp", "tcp6") for each in parse_sockets(Path(f"/proc/net/{name}").read_text())]
    facts = Firewall(
        interfaces=firewall._interfaces(root), rules=firewall._rules(root), forwards=firewall._forwards(root),
        only_ipv6=firewall._only_ipv6(),
    )  # fmt: skip
    found = ways(port, tuple(each.address for each in sockets if each.port == port), facts, sender)
    print(json.dumps([[way.address, way.fate, way.layer, way.rule, way.forwarded] for way in found]))  # noqa: T201


if __name__ == "__main__":
    main()
