"""nginx's own directives: where each may stand, and with how many arguments. Source: `nginx.toml`."""

from functools import cache
from typing import Literal, NamedTuple

import msgspec

from gpudoctor.matrices.table import Table, load

Context = Literal["main", "events", "http", "server", "location", "upstream", "if in server", "if in location",
                  "limit_except"]  # fmt: skip
Count = Literal["0", "1", "2", "3", "4", "5", "6", "7", "1+", "2+", "flag", "any", "block"]


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Directives of one kind."""

    contexts: tuple[Context, ...]
    arguments: tuple[Count, ...]
    names: tuple[str, ...]
    source: str


class NginxTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `nginx.toml`."""

    group: tuple[Group, ...]


class Known(NamedTuple):
    """One directive: the blocks in which it may stand, and the counts of arguments that it takes."""

    contexts: frozenset[str]
    arguments: frozenset[str]

    @property
    def block(self) -> bool:
        """True where braces follow it."""
        return "block" in self.arguments

    def takes(self, count: int) -> bool:
        """True for a number of arguments that nginx accepts."""
        told = self.arguments
        return (
            "any" in told or str(count) in told or ("1+" in told and count >= 1) or ("2+" in told and count >= 2)
            or ("flag" in told and count == 1) or (told == {"block"} and count == 0)
        )  # fmt: skip


@cache
def directives() -> dict[str, Known]:
    """Return every directive that the table knows."""
    table = load("nginx", NginxTable)
    return {
        name: Known(frozenset(group.contexts), frozenset(group.arguments)) for group in table.group
        for name in group.names
    }  # fmt: skip
