"""Two reports of one machine, or of two that should be equal: what came, what went, what changed."""

from pathlib import Path
from typing import Literal

import msgspec

from gpudoctor.fleet.read import Node, Problem, Unreadable, read


class Change(msgspec.Struct, frozen=True):
    """One property of the machine in both reports; None where a report does not know it."""

    what: str
    before: str | None
    after: str | None


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from ``before`` to ``after`` (``gpudoctor.diff/1``). ``exit_code`` is 1 when anything does."""

    schema: Literal["gpudoctor.diff/1"] = "gpudoctor.diff/1"
    before: str
    after: str
    exit_code: int
    machine: tuple[Change, ...]
    came: tuple[Problem, ...]
    went: tuple[Problem, ...]


def diff(before: Path, after: Path) -> Diff:
    """Compare two reports.

    Raises:
        ValueError: One of them cannot be read; the message says which and why.
    """
    old, new = _node(before), _node(after)
    changes = tuple(
        Change(what, old.machine.get(what), new.machine.get(what))
        for what in dict.fromkeys((*old.machine, *new.machine))
        if old.machine.get(what) != new.machine.get(what)
    )
    came, went = _without(new, old), _without(old, new)
    return Diff(
        before=f"{old.host}, {old.started}",
        after=f"{new.host}, {new.started}",
        exit_code=1 if changes or came or went else 0,
        machine=changes,
        came=came,
        went=went,
    )


def _node(path: Path) -> Node:
    found = read(path)
    if isinstance(found, Unreadable):
        raise ValueError(f"{path}: {found.problem}")
    return found


def _without(these: Node, others: Node) -> tuple[Problem, ...]:
    """Return the problems that the other report lacks. Figures in a message may change: id and subject decide."""
    known = {(problem.id, problem.status, problem.subject) for problem in others.problems}
    return tuple(p for p in these.problems if (p.id, p.status, p.subject) not in known)
