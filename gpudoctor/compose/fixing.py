"""From findings to an edited Compose file: each group of edits proved, the rest left with the reason."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpudoctor.compose import fix_gpus, fix_parallel, fix_settings
from gpudoctor.compose.edit_tree import Refused
from gpudoctor.compose.edits import Edit
from gpudoctor.compose.fix_asks import Ask, Fix, variables


class Remedy(NamedTuple):
    """How findings of one check are mended.

    ``asked_only``: an edit that changes what the service offers, made only when it is named. ``reads``: keys of the
    service that decide, besides those it writes; a base that it extends must not have them.
    """

    fix: Fix
    reads: frozenset[str] = frozenset()
    asked_only: bool = False


_GPU_KEYS = frozenset({"runtime", "gpus", "deploy", "environment"})

#: Check id -> remedy, in the order in which they are made: who reserves GPUs comes before who counts them.
REMEDIES: dict[str, Remedy] = {
    "compose.obsolete-version": Remedy(fix_settings.drop_version),
    "compose.unknown-key": Remedy(fix_settings.spell_key),
    "compose.gpu-scope": Remedy(fix_gpus.scope_gpus, _GPU_KEYS),
    "compose.no-gpu-request": Remedy(fix_gpus.request_gpus, _GPU_KEYS | {"command", "entrypoint"}),
    "compose.invalid-request": Remedy(fix_gpus.complete_reservation, frozenset({"deploy", "gpus"})),
    "compose.unknown-gpu": Remedy(fix_gpus.renumber_gpus, frozenset({"deploy"})),
    "compose.parallel-mismatch": Remedy(fix_parallel.fit_parallel, frozenset({"deploy", "command", "entrypoint"})),
    "compose.shm-too-small": Remedy(fix_settings.enlarge_shm, frozenset({"shm_size", "ipc"})),
    "compose.ignored-variable": Remedy(fix_settings.mend_variable, frozenset({"environment"})),
    "compose.port-open": Remedy(fix_settings.bind_ports, frozenset({"ports"}), asked_only=True),
    "compose.context-default": Remedy(fix_settings.set_context, frozenset({"environment"}), asked_only=True),
}


#: Each edit reads the file again: more characters times findings than this, in each of a few rounds, take minutes.
_MOST_CHARACTERS = 300_000
_TOO_MANY = "so many findings in so large a file are mended in several runs: name a service with --service"


class Wish(NamedTuple):
    """What one check wants mended in one service."""

    id: str
    ask: Ask


class Outcome(NamedTuple):
    """The edited text, what was done for which wish, and why the others were left."""

    text: str
    done: tuple[tuple[Wish, str], ...] = ()
    left: tuple[tuple[Wish, str], ...] = ()


def mend(text: str, name: str, wishes: Iterable[Wish]) -> Outcome:
    """Make all edits that can be made.

    Raises:
        Refused: The file as a whole cannot be edited.
        ComposeError: It is no Compose file.
    """
    edit = Edit(text, name)
    waiting = list(dict.fromkeys(wishes))
    most = max(1, _MOST_CHARACTERS // (len(text) + 1))
    outcome = Outcome(text, left=tuple((wish, _TOO_MANY) for wish in waiting[most:]))
    waiting = waiting[:most]
    for check_id, remedy in REMEDIES.items():
        group = [wish for wish in waiting if wish.id == check_id]
        if group:
            edit = edit if edit.text == outcome.text else Edit(outcome.text, name)
            outcome = _mend_group(outcome, edit, remedy, group)
    return outcome


def _mend_group(outcome: Outcome, edit: Edit, remedy: Remedy, group: Sequence[Wish]) -> Outcome:
    """Mend services that one check accuses together: behind a shared anchor they change together or not at all."""
    # Whoever follows a base can do so only when that was mended: bases come first.
    group = sorted(group, key=lambda each: len(_bases(edit, each.ask.service)) if each.ask.service else 0)
    try:
        text, done, left = _together(edit, remedy, group, group)
    except Refused:
        text, done, left = outcome.text, [], []
        for wish in group:
            others = [each for each in group if each not in [refused for refused, _ in left]]
            try:
                text, more, refused = _together(Edit(text, edit.name), remedy, [wish], others)
                done, left = done + more, left + refused
            except Refused as refusal:
                left.append((wish, str(refusal)))
    return Outcome(text, (*outcome.done, *done), (*outcome.left, *left))


def _together(
    edit: Edit, remedy: Remedy, wishes: Sequence[Wish], group: Sequence[Wish]
) -> tuple[str, list[tuple[Wish, str]], list[tuple[Wish, str]]]:
    """Make what can be made of some edits, and prove them at once; return the text, the made and the refused."""
    done, left = [], []
    mended = {each.ask.service for each in group}
    for wish in wishes:
        before = edit.state(wish.ask.path)
        try:
            done.append((wish, _fixed(edit, wish.ask, remedy, mended)))
        except Refused as refusal:
            edit.restore(before)
            mended.discard(wish.ask.service)
            left.append((wish, str(refusal)))
    return edit.proved(), done, left


def _fixed(edit: Edit, ask: Ask, remedy: Remedy, mended: set[str]) -> str:
    if not ask.service:
        return remedy.fix(edit, ask)
    if not isinstance(edit.get(ask.path), dict):
        raise Refused(f"service {ask.service} is not written in this file")
    base = _require_own(edit, ask, remedy, mended)
    return f"as service {base}, which it extends" if base else remedy.fix(edit, ask)


def _require_own(edit: Edit, ask: Ask, remedy: Remedy, mended: set[str]) -> str:
    """Refuse what would reach other services through ``extends``; return the base when all is written there."""
    services = edit.get(("services",))
    for other in services:
        if other not in mended and ask.service in _bases(edit, other):
            raise Refused(f"service {other} extends {ask.service} and would change as well: mend both by hand")
    own = _relevant(edit, ask, remedy)
    for base in _bases(edit, ask.service):
        if base not in services:
            raise Refused(f"it extends {base} of another file: mend it there")
        if shared := _relevant(edit, ask._replace(service=base), remedy):
            if own or base not in mended:
                raise Refused(f"it extends {base}, where {', '.join(sorted(shared))} is written: mend both by hand")
            return base
    return ""


def _relevant(edit: Edit, ask: Ask, remedy: Remedy) -> set[str]:
    found = set(remedy.reads & set(edit.get(ask.path) or ()))
    names = {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", ask.variable}
    if "environment" in found and not names & set(variables(edit, ask)):
        found.discard("environment")
    return found


def _bases(edit: Edit, service: str) -> list[str]:
    """Return the services that one extends, nearest first; one of another file as ``file: service``, and last."""
    found: list[str] = []
    while True:
        written = edit.get(("services", service))
        extends = written.get("extends") if isinstance(written, dict) else None
        if isinstance(extends, dict) and extends.get("file"):
            return [*found, f"{extends.get('service')} ({extends['file']})"]
        service = str(extends.get("service") if isinstance(extends, dict) else extends)
        if extends is None or service in found:
            return found
        found.append(service)
