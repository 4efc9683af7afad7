"""Files compared with the checksums that are stored beside them. Gatekeeper: ``files.unverifiable``.

Only ``verify`` fills it.
"""

from typing import Annotated, Literal

from msgspec import Meta

from gpudoctor.facts.base import Item, Section

#: ``verified``: its contents agree with a checksum. ``no-checksum``: nothing says what they should be. ``recorded``: no
#: checksum was known, and this run wrote one. ``refused``: a list names a path that is not looked at. ``not-read``: the
#: run ended before. ``leftover``: an unfinished download.
Outcome = Literal[
    "verified", "broken", "missing", "unreadable", "no-checksum", "recorded", "refused", "not-read", "leftover"
]


class CheckedFile(Item, frozen=True, kw_only=True):
    """One file, as far as it was looked at.

    ``model``: it is part of a model. ``by`` names what it was compared with (``its name``, ``SHA256SUMS``). ``problem``
    is why it is broken or could not be judged. ``digests`` maps algorithm to what was computed, ``expected`` to what it
    should be. ``modified_ns`` and ``inode`` tell whether it changed since; ``earlier``: a former run read it.
    """

    path: str
    outcome: Outcome
    kind: str = "file"
    model: bool = False
    by: str = ""
    problem: str = ""
    size_bytes: int | None = None
    modified_ns: int | None = None
    inode: int | None = None
    digests: dict[str, str] = {}
    expected: dict[str, str] = {}
    earlier: bool = False


class MissingWheel(Item, frozen=True, kw_only=True):
    """A requirement that no wheel of the folder meets. ``here`` names wheels of that project that do not fit."""

    requirement: str
    wanted_by: str
    here: Annotated[tuple[str, ...], Meta(max_length=64)] = ()


class WheelConflict(Item, frozen=True, kw_only=True):
    """Requirements on one project that no archive meets all at once. No project: the choices were too many to try."""

    project: str
    asked: Annotated[tuple[str, ...], Meta(max_length=64)] = ()


class WheelFolder(Item, frozen=True, kw_only=True):
    """A folder of wheels, as an installer without network would see it.

    ``required``: a requirements file says what shall be installed. ``unfit`` are projects none of whose wheels fit this
    Python and platform. ``unread`` are archives whose requirements are not known. ``together``: each project can be
    installed alone, but not all in one environment. ``left_aside`` are newer versions that lack what they require,
    where an older one does not.
    """

    path: str
    python: str
    platform: str
    wheels: int
    required: bool = False
    missing: Annotated[tuple[MissingWheel, ...], Meta(max_length=65536)] = ()
    unfit: Annotated[tuple[str, ...], Meta(max_length=65536)] = ()
    unread: Annotated[tuple[str, ...], Meta(max_length=65536)] = ()
    conflicts: Annotated[tuple[WheelConflict, ...], Meta(max_length=65536)] = ()
    together: bool = False
    left_aside: Annotated[tuple[MissingWheel, ...], Meta(max_length=65536)] = ()


class Files(Section, frozen=True, kw_only=True):
    """What was compared. ``unlisted`` counts, by folder, files of no importance that have no checksum."""

    files: Annotated[tuple[CheckedFile, ...], Meta(max_length=4_194_304)] = ()
    wheel_folders: Annotated[tuple[WheelFolder, ...], Meta(max_length=4096)] = ()
    unlisted: dict[str, int] = {}
    folders: Annotated[tuple[str, ...], Meta(max_length=65536)] = ()
    interrupted: bool = False
