"""Events of a kernel log, gathered: of events alike there is one, with a count."""

from typing import NamedTuple

from gpudoctor.evidence.kernel_line import Stamp
from gpudoctor.facts.kernel_log import EventKind

MAX_EVENTS = 2000
TEXT_CHARS = 300
#: Messages of a driver's probe routine precede its "loading" line by less than this.
_LOAD_SECONDS = 30.0
#: What a driver loaded anew, or a reset, leaves behind.
_OF_DRIVER: frozenset[EventKind] = frozenset({"xid", "sxid", "fell-off-bus", "rm-init-failed", "api-mismatch"})


class Key(NamedTuple):
    """What makes two events alike."""

    kind: EventKind
    address: str | None = None
    code: int | None = None
    fatal: bool | None = None
    other: str = ""


class Group:
    """Events of one key: one line in a report, with a count."""

    __slots__ = (
        "after_load", "boot", "cgroup", "count", "key", "known_only_by_detail", "last", "pid", "process", "text",
    )

    def __init__(self, key: Key, text: str, boot: int) -> None:
        self.key, self.text, self.boot = key, text, boot
        self.count = 1
        self.last: Stamp | None = None
        self.process: str | None = None
        self.pid: int | None = None
        self.cgroup: str | None = None
        self.after_load = True
        self.known_only_by_detail = False


class Groups:
    """The events so far. `open` are those that one more of their kind is counted with."""

    def __init__(self) -> None:
        self.all: list[Group] = []
        self.open: dict[Key, Group] = {}
        self.boot = self.dropped = 0

    def next_boot(self) -> None:
        """Say that what follows is of the next boot."""
        self.boot += 1
        self.open.clear()

    def add(self, key: Key, text: str, stamp: Stamp | None) -> Group | None:
        """Count one event; None when there are too many kinds already."""
        group = self.open.get(key)
        if group is None:
            if len(self.all) >= MAX_EVENTS:
                self.dropped += 1
                return None
            group = self.open[key] = Group(key, text[:TEXT_CHARS], self.boot)
            self.all.append(group)
        else:
            group.count += 1
        group.last = stamp or group.last
        return group

    def leave_behind(self, address: str | None, before: Stamp | None = None) -> None:
        """Mark what lies before a driver load (``address`` None) or before the reset of one GPU."""
        for key, group in list(self.open.items()):
            if key.kind not in _OF_DRIVER or (address is not None and key.address != address):
                continue
            if before is not None and self._of_this_load(group, before):
                continue
            group.after_load = False
            del self.open[key]

    @staticmethod
    def _of_this_load(group: Group, load: Stamp) -> bool:
        if group.last is None or group.last.wall is not load.wall:
            return "installed in this system" in group.text
        return group.last.seconds >= load.seconds - _LOAD_SECONDS
