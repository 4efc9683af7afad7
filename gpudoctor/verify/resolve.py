"""One version of each project that meets every requirement at once, found among the archives of a folder.

First what can never be installed is struck out, until nothing more falls: its requirement has no archive, or only
struck ones. Then versions are chosen, newest first; a conflict goes back to the choice that is to blame for it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

#: Choices that one question may take; folders of a thousand projects take about as many.
_MOST_CHOICES = 20_000


class Wheel(NamedTuple):
    """One archive of a project. ``requires`` None: what it requires is not known (a source archive, a damaged one)."""

    file: str
    name: str
    version: Version
    fits: bool
    requires: tuple[Requirement, ...] | None


class Ask(NamedTuple):
    """A requirement and who asks: an archive's name, or a place in a requirements file. ``of``: the asking project."""

    requirement: Requirement
    by: str
    of: str = ""

    @property
    def name(self) -> str:
        """The project that is asked for."""
        return canonicalize_name(self.requirement.name)


class Conflict(NamedTuple):
    """Requirements on one project that no archive meets all at once."""

    project: str
    asks: tuple[Ask, ...]


class TooMany(Exception):
    """The choices are too many to be tried."""


Holds = Callable[[Requirement, frozenset[str]], bool]
#: An archive with the extras that are asked of it.
_Node = tuple[Wheel, frozenset[str]]
_Asks = dict[str, tuple[Ask, ...]]


class Resolver:
    """The archives of one folder, as one installer sees them."""

    def __init__(self, wheels: Mapping[str, Sequence[Wheel]], holds: Holds) -> None:
        self._wheels = {name: [each for each in some if each.fits] for name, some in wheels.items()}
        self._holds = holds
        self._needs: dict[_Node, tuple[Ask, ...]] = {}
        self._found: dict[tuple[str, str], list[Wheel]] = {}
        self._struck: set[_Node] = set()
        self._strike([(wheel, frozenset()) for some in self._wheels.values() for wheel in some])

    def needs(self, wheel: Wheel, extras: frozenset[str] = frozenset()) -> tuple[Ask, ...]:
        """Return what an archive asks for with these extras."""
        node = (wheel, extras)
        if node not in self._needs:
            self._needs[node] = tuple(
                Ask(each, wheel.file, wheel.name) for each in wheel.requires or () if self._holds(each, extras)
            )
        return self._needs[node]

    def meeting(self, asks: Sequence[Ask]) -> list[Wheel]:
        """Return the archives that meet all these requirements on one project, as pip prefers them."""
        if any(each.requirement.url for each in asks):
            # It is fetched from there, whatever lies in the folder.
            return []
        joint = SpecifierSet()
        for each in asks:
            joint &= each.requirement.specifier
        key = (asks[0].name, str(joint))
        if key not in self._found:
            some = self._wheels.get(asks[0].name, [])
            # Releases before their previews, unless those are asked for or all there is.
            fit = set(joint.filter({wheel.version for wheel in some}))
            self._found[key] = sorted((wheel for wheel in some if wheel.version in fit),
                                      key=lambda wheel: (wheel.version, wheel.requires is not None), reverse=True)
        return self._found[key]

    def possible(self, ask: Ask) -> list[Wheel]:
        """Return the archives that meet this requirement and whose own can be met."""
        extras = frozenset(ask.requirement.extras)
        return [each for each in self.meeting([ask]) if (each, extras) not in self._struck]

    def lacking(self, asks: Sequence[Ask]) -> list[Ask]:
        """Return the requirements that no archive meets, beginning at these and following the newest archives."""
        waiting, seen, found = list(asks), set(), []
        while waiting:
            ask = waiting.pop(0)
            if (str(ask.requirement), ask.by) in seen or self.possible(ask):
                continue
            seen.add((str(ask.requirement), ask.by))
            meeting = self.meeting([ask])
            if meeting:
                waiting += self.needs(meeting[0], frozenset(ask.requirement.extras))
            else:
                found.append(ask)
        return found

    def struck(self, wheel: Wheel) -> bool:
        """Say whether an archive can never be installed from here."""
        return (wheel, frozenset()) in self._struck

    def _strike(self, nodes: list[_Node]) -> None:
        known = dict.fromkeys(nodes)
        for node in nodes:
            for ask in self.needs(*node):
                extras = frozenset(ask.requirement.extras)
                for wheel in self.meeting([ask]) if extras else ():
                    if (wheel, extras) not in known:
                        known[wheel, extras] = None
                        nodes.append((wheel, extras))
        struck = True
        while struck:
            struck = False
            for node in known:
                if node not in self._struck and not all(self.possible(ask) for ask in self.needs(*node)):
                    self._struck.add(node)
                    struck = True

    def choose(self, asks: Sequence[Ask]) -> dict[str, Wheel] | Conflict:
        """Choose one archive for each project that these requirements draw in; or say what cannot be met at once.

        Raises:
            TooMany: It was not found in the choices that may be tried.
        """
        start = self._with({}, {}, asks)
        if isinstance(start, Conflict):
            return start
        chosen: dict[str, Wheel] = {}
        stack = [_Level("", {}, start, iter(()), set())]
        worst = Conflict("", ())
        for _ in range(_MOST_CHOICES):
            level = stack[-1]
            name = next((each for each in level.asks if each not in level.chosen), None)
            if name is None:
                return level.chosen
            chosen = level.chosen
            candidates = self._alive(level.asks[name])
            stack.append(_Level(name, chosen, level.asks, iter(candidates), {ask.of for ask in level.asks[name]}))
            while stack:
                level = stack[-1]
                taken = self._take(level)
                if not isinstance(taken, Conflict):
                    break
                # The conflict of most requirements says most; those above it only follow from it.
                worst = max(worst, taken, key=lambda each: len(each.asks))
                blame, versions = level.blame, level.versions
                stack.pop()
                while stack and stack[-1].name not in blame:
                    stack.pop()
                if not stack or not stack[-1].name:
                    return worst
                stack[-1].blame.update(blame - {stack[-1].name})
                stack[-1].versions.update(versions)
            if not stack:
                return worst
        raise TooMany

    def _alive(self, asks: Sequence[Ask]) -> list[Wheel]:
        extras = frozenset().union(*(each.requirement.extras for each in asks))
        return [each for each in self.meeting(asks) if (each, frozenset()) not in self._struck
                and (each, extras) not in self._struck]

    def _take(self, level: "_Level") -> "_Level | Conflict":
        """Take the next candidate that agrees with all that was chosen; the level then holds the state behind it."""
        worst = Conflict(level.name, level.before_asks[level.name])
        for wheel in level.candidates:
            needs = frozenset(str(each.requirement) for each in self.needs(wheel))
            # Another version that asks for the same fails for the same reason, unless it was the version that mattered.
            if needs in level.tried and level.name not in level.versions:
                continue
            level.tried.add(needs)
            chosen = {**level.before, level.name: wheel}
            extras = frozenset().union(*(each.requirement.extras for each in level.before_asks[level.name]))
            asks = self._with(chosen, level.before_asks, self.needs(wheel, extras))
            if not isinstance(asks, Conflict):
                level.chosen, level.asks = chosen, asks
                return level
            worst = max(worst, asks, key=lambda each: len(each.asks))
            level.blame.update(each.of for each in asks.asks)
            level.blame.add(asks.project)
            level.versions.add(asks.project)
        return worst

    def _with(self, chosen: Mapping[str, Wheel], asks: _Asks, more: Sequence[Ask]) -> "_Asks | Conflict":
        """Return all requirements with these added; or those on one project that disagree."""
        known = dict(asks)
        waiting = list(more)
        while waiting:
            ask = waiting.pop()
            before = known.get(ask.name, ())
            if any(each.requirement == ask.requirement for each in before):
                continue
            known[ask.name] = (*before, ask)
            wheel = chosen.get(ask.name)
            able = self._alive(known[ask.name])
            if not able or (wheel is not None and wheel not in able):
                return Conflict(ask.name, known[ask.name])
            if wheel is not None and ask.requirement.extras:
                waiting += self.needs(wheel, frozenset(ask.requirement.extras))
        return known


class _Level:
    """One choice: the state before it and behind it, what is left to try, and which choices are to blame if nothing."""

    def __init__(self, name: str, before: dict[str, Wheel], asks: _Asks, candidates: Iterator[Wheel],
                 blame: set[str]) -> None:  # fmt: skip
        self.name, self.before, self.before_asks, self.candidates = name, before, asks, candidates
        self.chosen, self.asks, self.blame = before, asks, blame
        #: Projects whose version, not only what it asks for, was in the way below here.
        self.versions: set[str] = set()
        self.tried: set[frozenset[str]] = set()
