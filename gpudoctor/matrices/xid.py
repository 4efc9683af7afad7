"""Xid and SXid numbers of the kernel log and what to make of them. Source: `xid.toml`."""

from functools import cache
from typing import Literal

import msgspec

from gpudoctor.matrices.table import Table, load

Verdict = Literal["info", "warn-if-recent", "warn", "fail-until-reset", "fail-if-recurring", "fail-if-fatal", "see"]
"""`warn-if-recent`: worth a line for a day. `fail-until-reset`: unless the GPU was reset or the machine restarted
since. `fail-if-fatal`: when the log line says Fatal. `see`: the facts named by `Xid.see` decide."""


class Xid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Xid numbers of one meaning.

    `action` is the immediate action of NVIDIA's catalogue in its own spelling, None where it names none. `program`:
    usually the fault of the program that ran, so no reason to fail a machine.
    """

    codes: tuple[int, ...]
    meaning: str
    verdict: Verdict
    source: str
    action: str | None = None
    program: bool = False
    see: Literal["row-remap", "repair", "ecc", "recovery-action"] | None = None


class Sxid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SXid numbers of one meaning.

    `action` is NVIDIA's; `RESET_BY_LINK` stands for: the GPUs of that link, or all GPUs and switches when it runs
    between switches.
    """

    codes: tuple[int, ...]
    meaning: str
    severity: Literal["non-fatal", "fatal", "always-fatal"]
    action: str
    source: str


class Text(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words in a log line that stand for a number it does not print."""

    contains: str
    code: int
    source: str


class XidTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `xid.toml`."""

    xid: tuple[Xid, ...]
    text: tuple[Text, ...]
    sxid: tuple[Sxid, ...]


@cache
def table() -> XidTable:
    """Return the whole table with its sources, parsed once."""
    return load("xid", XidTable)


def xid(code: int) -> Xid | None:
    """Return what is known of an Xid number, None for one the table does not know."""
    return next((row for row in table().xid if code in row.codes), None)


def sxid(code: int) -> Sxid | None:
    """Return what is known of an SXid number, None for one the table does not know: the log line then decides."""
    return next((row for row in table().sxid if code in row.codes), None)


def xid_of_text(line: str) -> int | None:
    """Return the Xid number a log line tells in words only, None when it tells none."""
    return next((row.code for row in table().text if row.contains in line), None)
