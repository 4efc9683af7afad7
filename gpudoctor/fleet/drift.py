"""What differs between nodes that should be equal: nodes with the same GPUs, or all of them and a golden one."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from gpudoctor.fleet.read import Node

#: Of a group, that is what it is grouped by.
_KIND = "GPUs"
_ABSENT = "not known"
NONE_USUAL = "no common value"


class Deviation(msgspec.Struct, frozen=True):
    """Some nodes' value of one property where most have, or the golden node has, another."""

    what: str
    usual: str
    value: str
    hosts: tuple[str, ...]
    of: str


def drift(nodes: Sequence[Node], baseline: Mapping[str, str] | None = None) -> tuple[Deviation, ...]:
    """Return every deviation, those of the most nodes last: what one node alone has is the likeliest mistake.

    Without a baseline the nodes of one kind (the same GPUs) are compared among themselves; where two values are
    equally common, none is usual and every node deviates.
    """
    found: list[Deviation] = []
    if baseline is not None:
        found = _against(nodes, baseline, "the baseline")
    else:
        kinds: dict[str, list[Node]] = {}
        for node in nodes:
            kinds.setdefault(node.machine.get(_KIND, ""), []).append(node)
        for kind, members in kinds.items():
            if kind and len(members) > 1:
                found += _against(members, _usual(members), kind)
    return tuple(sorted(found, key=lambda each: (len(each.hosts), each.what, each.value)))


def _usual(nodes: Sequence[Node]) -> dict[str, str]:
    counts: dict[str, Counter[str]] = {}
    for node in nodes:
        for what, value in node.machine.items():
            counts.setdefault(what, Counter())[value] += 1
    return {what: _commonest(counter) for what, counter in counts.items()}


def _commonest(counts: Counter[str]) -> str:
    first, *others = counts.most_common(2)
    return NONE_USUAL if others and others[0][1] == first[1] else first[0]


def _against(nodes: Sequence[Node], usual: Mapping[str, str], of: str) -> list[Deviation]:
    hosts: dict[tuple[str, str], list[str]] = {}
    for node in nodes:
        if not node.machine:
            continue
        for what, expected in usual.items():
            value = node.machine.get(what, _ABSENT)
            if value != expected:
                hosts.setdefault((what, value), []).append(node.host)
    return [Deviation(what, usual[what], value, tuple(names), of) for (what, value), names in hosts.items()]
