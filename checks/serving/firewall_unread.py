"""This machine's packet filter could not be read, so nobody knows whether it lets others in.

## Why it matters
An engine that answers on its own machine may be closed to everybody else. A firewall that could not be looked at is no
open one: nothing may be concluded from its silence.

## How to fix
Run `gpudoctor serving` as root; listing rules takes it. Where `nft` is missing, install it.

## References
- https://wiki.nftables.org/wiki-nftables/index.php/Netfilter_hooks
- https://docs.docker.com/engine/network/packet-filtering-firewalls/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, passed, saw, skipped, step, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.firewall import Firewall
from gpudoctor.facts.serving import Endpoint, Serving
from gpudoctor.judging.presence import closed_gate


@check(gatekeeper_of="firewall")
def firewall_unread(firewall: Firewall | Unavailable, serving: Serving | Unavailable) -> Iterator[Finding]:
    """Judge whether every rule was seen."""
    if isinstance(firewall, Unavailable):
        yield closed_gate("packet filter", firewall)
        return
    if isinstance(serving, Serving) and serving.endpoints and not any(map(_is_open, serving.endpoints)):
        yield skipped("host", "no engine listens beyond this machine's loopback, so no firewall matters")
        return
    known = tuple(firewall.managers)
    managed = [saw("kept by", known, "/etc/ufw, /run/firewalld")] if known else []
    if isinstance(firewall.rules, Unavailable):
        yield unknown("host", "whether a firewall of this machine stops others is not known: {reason}",
                      reason=firewall.rules.reason, evidence=managed,
                      fix=step("Read it as root.", "sudo gpudoctor serving"))
    elif firewall.rules.unseen is not None:
        yield unknown("host", "not every rule of the packet filter was seen: {reason}", reason=firewall.rules.unseen,
                      evidence=managed, fix=step("Install nft (package nftables), and run this again."))
    else:
        based = sum(each.hook is not None for each in firewall.rules.chains)
        rules = sum(len(each.rules) for each in firewall.rules.chains)
        yield passed("host", "the packet filter was read: {rules} rules", rules=rules,
                     evidence=(*managed, saw("chains that packets pass", based, "nft, iptables-save")))


def _is_open(each: Endpoint) -> bool:
    return not each.addresses or any(not (at.startswith("127.") or at == "::1") for at in each.addresses)
