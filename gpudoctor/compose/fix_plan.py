"""Lint, mend, lint again: until a round brings nothing new, so that a second run has nothing to do."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from gpudoctor.checking.finding import Location, Result
from gpudoctor.compose.fix_asks import Ask
from gpudoctor.compose.fixing import REMEDIES, Wish, mend
from gpudoctor.facts.compose import ComposeProject, Service
from gpudoctor.judging.composed import asked, group_size, vendor

_MOST_ROUNDS = 8
_OPEN = ("fail", "warn", "info")
#: A variable with the same meaning; others are told apart by more words.
_SUCCESSOR = re.compile(r"([A-Z][A-Z0-9_]*)(?:, from [0-9.]+)?", re.ASCII)
#: Engines that use as many GPUs as their flags say, one without flags.
_ENGINES_THAT_COUNT = ("vllm", "sglang", "tgi")

#: Parameters of a finding that leave open what was meant.
_UNCERTAIN = {"near": "which variable was meant is yours to say", "since": "a newer image reads it"}


class Judged(NamedTuple):
    """A project and what the checks say of it."""

    project: ComposeProject
    results: Sequence[Result]


class Limits(NamedTuple):
    """What may be mended: ids and services as asked (empty: all that is safe), and the machine as `Ask` wants it."""

    file: str
    ids: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    host_gpus: int | None = None
    mixed: bool = False
    compose_v1: bool = False
    context: Callable[[Service], int | None] = lambda service: None


class Mended(NamedTuple):
    """A finding and what was done about it."""

    result: Result
    change: str


class Left(NamedTuple):
    """A finding and why it stays. ``refused``: there is a remedy, and it could not be used."""

    result: Result
    reason: str
    refused: bool = False


class Plan(NamedTuple):
    """The text to be, and the findings by what became of them; places of those left are of the text to be.

    ``places``: where they stand in the text as it is, by what they say.
    """

    text: str
    mended: tuple[Mended, ...]
    left: tuple[Left, ...]
    places: Mapping[object, Location | None]


def plan(text: str, judge: Callable[[str], Judged], limits: Limits) -> Plan:
    """Mend what can be mended.

    Args:
        text: The file.
        judge: Reads and judges the project as if the file held the given text.
        limits: What may be mended.

    Raises:
        Refused: The file as a whole cannot be edited.
        ComposeError: It, or a file beside it, is no Compose file.
    """
    mended: list[Mended] = []
    places: dict[object, Location | None] = {}
    for _ in range(_MOST_ROUNDS):
        judged = judge(text)
        places = places or {said(each): each.finding.location for each in judged.results}
        wishes: dict[Wish, list[Result]] = {}
        left: list[Left] = []
        for result in judged.results:
            reason = _reason(result, limits)
            if reason is None:
                wishes.setdefault(_wish(result, limits, judged.project), []).append(result)
            elif reason:
                left.append(Left(result, reason))
        outcome = mend(text, limits.file, wishes)
        left += [Left(each, reason, True) for wish, reason in outcome.left for each in wishes[wish]]
        if outcome.text == text:
            vain = "its remedy is there already, and does not help"
            left += [Left(each, vain, True) for wish, _ in outcome.done for each in wishes[wish]]
            break
        mended += [Mended(each, change) for wish, change in outcome.done for each in wishes[wish]]
        text = outcome.text
    return Plan(text, tuple(mended), tuple(left), places)


def said(result: Result) -> object:
    """Return what a finding says, wherever it stands."""
    return result.id, result.subject, result.finding.message, tuple(sorted(result.finding.params.items()))


def _reason(result: Result, limits: Limits) -> str | None:
    """Return why a finding is left; empty for what is no fault, None for what shall be mended."""
    finding = result.finding
    if finding.status not in _OPEN or result.accepted is not None:
        return ""
    remedy = REMEDIES.get(result.id)
    service = _service(result)
    if (limits.ids and result.id not in limits.ids) or (limits.services and service and service not in limits.services):
        return ""
    if remedy is None:
        return "" if finding.status == "info" else "not mended by this command"
    if remedy.asked_only and result.id not in limits.ids:
        return f"mended only when asked: --only {result.id}"
    if result.id == "compose.ignored-variable":
        if finding.status == "info":
            return ""
        for word, reason in _UNCERTAIN.items():
            if word in finding.params:
                return reason
    where = finding.location.file if finding.location else limits.file
    return None if where == limits.file else f"it is written in {where}: mend that file"


def _wish(result: Result, limits: Limits, project: ComposeProject) -> Wish:
    finding = result.finding
    known = finding.params
    service = next((each for each in project.services if each.subject == finding.subject), None)
    question = asked(service) if service is not None else None
    successor = _SUCCESSOR.fullmatch(str(known.get("instead", "")))
    misspelt = result.id == "compose.unknown-key"
    ask = Ask(
        service=_service(result),
        amd=service is not None and vendor(service) == "amd",
        engine_gpus=group_size(question) if question and question.settings.engine in _ENGINES_THAT_COUNT else None,
        host_gpus=limits.host_gpus,
        mixed=limits.mixed,
        compose_v1=limits.compose_v1,
        variable=str(known.get("name", "")) if result.id == "compose.ignored-variable" else "",
        instead=successor[1] if successor else "",
        key=str(known.get("path", "")) if misspelt else "",
        near=str(known.get("near", "")) if misspelt else "",
        context=limits.context(service) if service is not None and result.id == "compose.context-default" else None,
    )
    return Wish(result.id, ask)


def _service(result: Result) -> str:
    kind, _, name = result.finding.subject.partition(":")
    return name if kind == "service" else ""


def same_but(before: ComposeProject, after: ComposeProject, changed: frozenset[str]) -> str | None:
    """Return the name of a service that differs and was not meant to; places do not count."""
    old = {each.name: _bare(msgspec.to_builtins(each)) for each in before.services}
    new = {each.name: _bare(msgspec.to_builtins(each)) for each in after.services}
    return next((n for n in [*old, *new] if n not in changed and old.get(n) != new.get(n)), None)


def _bare(value: object) -> object:
    if isinstance(value, dict):
        return {key: _bare(each) for key, each in value.items() if key not in ("place", "places")}
    return [_bare(each) for each in value] if isinstance(value, list | tuple) else value
