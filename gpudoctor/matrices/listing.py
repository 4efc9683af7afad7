"""The tables themselves: how old each is and where it comes from."""

import datetime

import msgspec

from gpudoctor.matrices import TABLES
from gpudoctor.matrices.table import Source, content


class TableInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One table. `rows` counts the rows of all its lists, its sources aside."""

    name: str
    title: str
    retrieved: datetime.date
    rows: int
    sources: tuple[Source, ...]

    def age_days(self, today: datetime.date) -> int:
        """Return how many days ago the sources were read."""
        return (today - self.retrieved).days


def tables() -> tuple[TableInfo, ...]:
    """Return every table; parses all of them, some 30 ms."""
    return tuple(table_info(name) for name in TABLES)


def table_info(name: str) -> TableInfo:
    """Return one table. ``KeyError`` for a name that is none."""
    body = content(name)
    lists = [value for key, value in body.items() if key != "sources" and isinstance(value, list)]
    rows = sum(isinstance(row, dict) for value in lists for row in value)
    sources = msgspec.convert(body["sources"], tuple[Source, ...])
    retrieved = msgspec.convert(body["retrieved"], datetime.date)
    return TableInfo(name=name, title=TABLES[name], retrieved=retrieved, rows=rows, sources=sources)
