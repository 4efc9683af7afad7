"""Facts about one machine at one moment: data only, the same type live, recorded and pasted."""

from gpudoctor.facts.base import NOT_RECORDED, Item, Section, Unavailable
from gpudoctor.facts.snapshot import Snapshot, SnapshotError, read_snapshot, write_snapshot

__all__ = [
    "NOT_RECORDED",
    "Item",
    "Section",
    "Snapshot",
    "SnapshotError",
    "Unavailable",
    "read_snapshot",
    "write_snapshot",
]
