"""One document for a rack (``gpudoctor.fleet/1``): the worst nodes first, what they suffer from, what differs."""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from gpudoctor import __version__
from gpudoctor.checking.verdict import Verdict
from gpudoctor.fleet.drift import Deviation, drift
from gpudoctor.fleet.hosts import natural
from gpudoctor.fleet.read import Node, Problem, Unreadable

_ORDER: tuple[Verdict, ...] = ("fail", "unknown", "warn", "pass")


class Shared(msgspec.Struct, frozen=True):
    """One check's finding and the nodes that have it. ``message`` is that of the first of them."""

    id: str
    status: str
    message: str
    hosts: tuple[str, ...]


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes, worst first; ``problems``, those of most nodes first; what differs; files that could not be read."""

    schema: Literal["gpudoctor.fleet/1"] = "gpudoctor.fleet/1"
    tool_version: str = __version__
    verdict: Verdict
    exit_code: int
    summary: dict[str, int]
    nodes: tuple[Node, ...]
    problems: tuple[Shared, ...]
    drift: tuple[Deviation, ...]
    unreadable: tuple[Unreadable, ...]


def merge(read: Iterable[Node | Unreadable], baseline: Mapping[str, str] | None = None) -> Fleet:
    """Merge what was read. Of several reports of one host the newest counts.

    A file that could not be read leaves its node unjudged: the exit code is then 3, unless another node fails.
    """
    newest: dict[str, Node] = {}
    unreadable: list[Unreadable] = []
    for each in read:
        if isinstance(each, Unreadable):
            unreadable.append(each)
        elif each.host not in newest or newest[each.host].started <= each.started:
            newest[each.host] = each
    nodes = sorted(newest.values(), key=_badness)
    summary: dict[str, int] = {verdict: sum(node.verdict == verdict for node in nodes) for verdict in _ORDER}
    undecided = bool(summary["unknown"] or unreadable or not nodes)
    codes = {node.exit_code for node in nodes}
    verdict: Verdict = (
        "fail" if summary["fail"] else "unknown" if undecided else "warn" if summary["warn"] else "pass"
    )
    return Fleet(
        verdict=verdict,
        exit_code=1 if 1 in codes else 3 if undecided or 3 in codes else 0,
        summary={**summary, "unreadable": len(unreadable)},
        nodes=tuple(nodes),
        problems=_shared(nodes),
        drift=drift(nodes, baseline),
        unreadable=tuple(unreadable),
    )


def _badness(node: Node) -> tuple[object, ...]:
    failing = sum(problem.status == "fail" for problem in node.problems)
    return _ORDER.index(node.verdict), -failing, -len(node.problems), natural(node.host)


def _shared(nodes: Iterable[Node]) -> tuple[Shared, ...]:
    first: dict[tuple[str, str], Problem] = {}
    hosts: dict[tuple[str, str], dict[str, None]] = {}
    for node in nodes:
        for problem in node.problems:
            key = problem.id, problem.status
            first.setdefault(key, problem)
            hosts.setdefault(key, {})[node.host] = None
    weight = {"fail": 0, "unknown": 1, "warn": 2}
    keys = sorted(hosts, key=lambda key: (weight[key[1]], -len(hosts[key]), key))
    return tuple(Shared(key[0], key[1], first[key].message, tuple(hosts[key])) for key in keys)
