"""The child's side of a probe: facts go out one line at a time, so that a hang costs only what it holds up."""

import os
from collections.abc import Collection
from typing import Any

import msgspec

from gpudoctor.facts.base import Reason, Section
from gpudoctor.facts.encoding import encoded

#: Facts about one thing must fit in this; a longer line is a defect of the probe.
MAX_LINE_BYTES = 8 * 1024 * 1024


class Reporter:
    """Writes facts to the parent. Every call is one JSON line.

    A probe names each step that could hang with ``start`` before it does it. When the child hangs or dies
    there, the parent names that item, appends its placeholder with a ``failure``, and starts a fresh child
    in which ``left_out(item)`` is true.
    """

    def __init__(self, descriptor: int, left_out: Collection[str] = ()) -> None:
        self._descriptor = descriptor
        self._left_out = frozenset(left_out)

    def _write(self, line: dict[str, Any]) -> None:
        data = encoded(line) + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]

    def left_out(self, item: str) -> bool:
        """True for an item in which an earlier child was lost: do not touch it."""
        return item in self._left_out

    def start(
        self,
        item: str,
        *,
        doing: str = "",
        patience: float | None = None,
        section: str | None = None,
        field: str | None = None,
        placeholder: msgspec.Struct | None = None,
        promised: bool = False,
    ) -> None:
        """Say what comes next.

        Args:
            item: Its name for people ("GPU 3"). What an earlier call with this name said, and this one does not,
                still holds.
            doing: The call in progress ("nvmlDeviceGetTemperature").
            patience: Seconds of silence after which the parent gives this item up; None for the probe's own.
            section: The section that gets the placeholder.
            field: The section's list to which it is appended.
            placeholder: What is known of the item, with a field ``failure`` for the parent to fill.
            promised: The item will be appended in any case. If that never comes, for whatever reason, the parent
                appends its placeholder.
        """
        self._write(
            {"start": item, "doing": doing, "patience": patience, "section": section, "field": field,
             "placeholder": placeholder, "promised": promised}
        )

    def section(self, name: str, value: Section) -> None:
        """Send a whole section."""
        self._write({"section": name, "set": value})

    def set(self, name: str, **fields: Any) -> None:
        """Send some fields of a section."""
        self._write({"section": name, "set": fields})

    def append(self, name: str, field: str, value: msgspec.Struct) -> None:
        """Send one element of a section's list; it ends the item in progress."""
        self._write({"section": name, "field": field, "append": value})

    def unavailable(self, name: str, reason: str, kind: Reason = "error") -> None:
        """Say why a section is not there."""
        self._write({"section": name, "unavailable": reason, "kind": kind})

    def broken(self, reason: str) -> None:
        """Say why sections that are not named will not come."""
        self._write({"broken": reason})

    def done(self) -> None:
        """Say that the probe came to its end."""
        self._write({"done": True})
