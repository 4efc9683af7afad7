"""Whether a release of Ollama reads a variable, and what works instead."""

import difflib
from typing import Literal, NamedTuple

from gpudoctor.matrices import ollama
from gpudoctor.matrices.versions import release, within


class Said(NamedTuple):
    """``instead`` is the knob or name that works; ``release`` the first, last or newest release that it is about."""

    verdict: Literal["read", "never", "misspelt", "unknown", "not-yet", "no-longer", "not-recorded"]
    instead: str | None = None
    release: str | None = None


def judged(name: str, version: str | None) -> Said:
    """Judge one ``OLLAMA_`` variable; without a version only what no release reads is told."""
    table = ollama.table()
    never = ollama.never_existed(name)
    if never is not None:
        return Said("never", never.instead)
    row = ollama.variable(name)
    if row is None:
        if version is not None and not ollama.is_known(version):
            return Said("not-recorded")
        near = difflib.get_close_matches(name, [each.name for each in table.variables], 1, 0.8)
        return Said("misspelt", near[0], table.known_until) if near else Said("unknown", None, table.known_until)
    if version is None or release(version) is None:
        return Said("read")
    if not within(version, row.since, None):
        return Said("not-yet", None, row.since)
    if row.last is not None and not within(version, None, row.last) and release(version) != release(row.last):
        return Said("no-longer", None, row.last)
    return Said("read")
