"""Choosing checks by id, glob and area, without opening a way to a false green."""

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec

from gpudoctor.checking.registry import RESTS_ON, Check


class UnknownId(Exception):
    """A selector matches no check; the message names the nearest ids."""

    def __init__(self, selector: str, near: Sequence[str]) -> None:
        super().__init__(f"no check is called {selector!r}")
        self.selector, self.near = selector, tuple(near)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which checks run. ``left_out`` were named with --skip; ``added`` are gatekeepers that were not asked for
    but judge whether what was asked for could be seen at all.
    """

    chosen: tuple[Check, ...]
    left_out: tuple[Check, ...] = ()
    added: tuple[str, ...] = ()

    @property
    def sections(self) -> frozenset[str]:
        """The snapshot sections that the chosen checks read, with those they rest on."""
        return frozenset(_closure(name for each in self.chosen for name in each.sections))


def select(checks: Sequence[Check], only: Iterable[str] = (), skip: Iterable[str] = ()) -> Selection:
    """Return the checks that match ``only`` (all, if empty) and not ``skip``.

    A selector is an id, a glob (``gpu.ecc-*``) or an area (``gpu``). With ``only``, the gatekeepers of the
    sections that the chosen checks read are added: else a failed probe would turn into skips, a green report.

    Raises:
        UnknownId: A selector matches nothing.
    """
    only, skip = tuple(only), tuple(skip)
    for selector in (*only, *skip):
        if not any(matches(each.id, selector) for each in checks):
            raise UnknownId(selector, nearest(selector, checks))
    wanted = [c for c in checks if not only or any(matches(c.id, s) for s in only)]
    left_out = [c for c in checks if c in wanted and any(matches(c.id, s) for s in skip)]
    chosen = [c for c in wanted if c not in left_out]
    added: list[str] = []
    if only:
        sections = _closure(name for each in chosen for name in each.sections)
        for each in checks:
            if each.gatekeeper_of in sections and each not in chosen and each not in left_out:
                added.append(each.id)
                chosen.append(each)
        chosen.sort(key=lambda c: c.id)
    return Selection(chosen=tuple(chosen), left_out=tuple(left_out), added=tuple(added))


def matches(check_id: str, selector: str) -> bool:
    """True if a selector (id, glob or area) covers a check id."""
    return fnmatchcase(check_id, selector) or check_id.startswith(f"{selector}.")


def nearest(selector: str, checks: Iterable[Check]) -> list[str]:
    """Return up to three ids that look like what was typed."""
    ids = [c.id for c in checks]
    close = difflib.get_close_matches(selector, ids, 3, 0.55)
    return close or [i for i in ids if selector.partition(".")[2] and selector.partition(".")[2] in i][:3]


def _closure(names: Iterable[str]) -> set[str]:
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(RESTS_ON.get(name, ()))
    return reached
