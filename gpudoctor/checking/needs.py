"""Asking for a fact that may not be there, without an if in every check."""

from typing import TypeVar

from gpudoctor.facts.base import Unavailable

T = TypeVar("T")


class NotKnown(Exception):
    """A check needed a fact that is unavailable; the engine makes a skip or an unknown of it."""

    def __init__(self, fact: Unavailable) -> None:
        super().__init__(fact.reason)
        self.fact = fact


def need(fact: T | Unavailable) -> T:
    """Return the fact; if it is unavailable, end this check with ``skip`` (nothing to judge) or ``unknown``."""
    if isinstance(fact, Unavailable):
        raise NotKnown(fact)
    return fact


def known(fact: T | Unavailable) -> T | None:
    """Return the fact, or None if it is unavailable, for facts that only add to a judgement."""
    return None if isinstance(fact, Unavailable) else fact
