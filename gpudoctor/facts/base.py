"""What every fact is made of: sections, and the one way of not knowing."""

from typing import Literal

import msgspec

Reason = Literal[
    "not-recorded",  # this snapshot is older than the fact, or nobody asked for it
    "not-asked",  # needs an option (--deep, --live) that was not given
    "not-applicable",  # this machine has no such thing
    "not-supported",  # the device or kernel says it has no such figure
    "driver-too-old",  # the driver does not know the question
    "no-permission",
    "timeout",
    "crashed",
    "error",
]

#: Reasons that mean "there is nothing to judge"; all others mean "could not look".
HARMLESS: frozenset[str] = frozenset(
    {"not-recorded", "not-asked", "not-applicable", "not-supported", "driver-too-old"}
)


class Unavailable(msgspec.Struct, frozen=True, tag_field="status", tag="unavailable"):
    """The only "don't know": why a fact is not there. It does no arithmetic."""

    reason: str
    kind: Reason = "error"

    @property
    def harmless(self) -> bool:
        """True when there is nothing to judge, as against a look that failed."""
        return self.kind in HARMLESS


NOT_RECORDED = Unavailable("not in this snapshot", "not-recorded")


class Section(msgspec.Struct, frozen=True, kw_only=True, tag_field="status", tag="recorded"):
    """A group of facts that one probe reads and checks ask for by name."""


class Part(msgspec.Struct, frozen=True, kw_only=True, tag_field="status", tag="recorded"):
    """A part of an item that can be unavailable as a whole."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a section: one GPU, one disk, one log event."""
