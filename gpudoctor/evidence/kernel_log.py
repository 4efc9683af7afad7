"""Kernel log text, in any form in which it is printed or pasted, to the events that checks judge.

Sample input, all of one meaning:

    [ 1843.308145] NVRM: Xid (PCI:0000:1a:00): 79, pid=4012, name=python3, GPU has fallen off the bus.
    Dec  2 11:49:53 gpu01 kernel: [  885.242168] NVRM: GPU 0000:1a:00.0: GPU has fallen off the bus.
    2025-01-25T10:34:54,859532+00:00 NVRM: Xid (PCI:0000:1a:00): 79, GPU has fallen off the bus.
    4,1021,1843308145,-;NVRM: GPU at PCI:0000:1a:00 has fallen off the bus.
"""

import re
from collections.abc import Iterable

from gpudoctor.evidence.kernel_groups import Group, Groups
from gpudoctor.evidence.kernel_line import Stamp, split_line
from gpudoctor.evidence.kernel_messages import KernelMessages
from gpudoctor.facts.kernel_log import KernelEvent

MAX_LINE_CHARS = 4096
_MAX_JOINED = 12
#: Backward jump of the kernel's clock that means another boot.
_CLOCK_BACK_SECONDS = 60.0

_WORDS = re.compile(
    r"NVRM|Xid|nvidia|oom-kill|Killed process|Bus Error|AER:|BAR ?[0-5]\b|rejected|Lockdown|amdgpu|IO_PAGE_FAULT"
    r"|DMAR|Linux version",
)
_STARTS = re.compile(
    r"\s+(?:\[|NVRM: (?:Xid|GPU|Rm|loading|API mismatch|The NVIDIA)|kernel: |\S+ kernel: |\S+: SXid|pcieport |amdgpu )"
)
_JOINS = re.compile(r"NVRM: (?:The NVIDIA|API mismatch|This PCI I/O region)")
_JOINED = re.compile(r"NVRM:\s+(?:[a-z(]|BAR|System Processor|Please see the|Firmware'|GPU[.,])(?!oading NVIDIA UNIX)")


class KernelLogReader:
    """Reads a kernel log line by line, in its order, in bounded memory.

    Args:
        now: Seconds since 1970 at which the log was read; None for pasted text, where the newest line stands for it.
        uptime: Seconds since boot at which it was read, for lines that only tell the kernel's own clock.
    """

    def __init__(self, *, now: float | None = None, uptime: float | None = None) -> None:
        self._now, self._uptime = now, uptime
        self._groups = Groups()
        self._messages = KernelMessages(self._groups)
        self._pending: tuple[Stamp | None, list[str]] | None = None
        self._newest: dict[tuple[int, bool], float] = {}
        self._last_uptime: float | None = None
        self._last_line = ""
        self._begun = False
        self.from_boot = False

    @property
    def boots(self) -> int:
        """How many boots were seen, at least one."""
        return self._groups.boot + 1

    @property
    def dropped(self) -> int:
        """How many events were left out because there were too many kinds."""
        return self._groups.dropped

    def feed(self, line: str) -> None:
        """Take one printed line, with whatever stands before the message."""
        if not line.strip():
            return
        line = line[:MAX_LINE_CHARS].rstrip("\r\n")
        if self._pending is None and not _WORDS.search(line):
            self._last_line = line
            return
        first, *more = line.replace("#012", "\n").replace("\\x0a", "\n").split("\n")
        if self._pending is not None and first[:1] in (" ", "\t") and not _STARTS.match(first):
            self._continue(first)
        else:
            stamp, text = split_line(first, self._now)
            if text is not None:
                self._record(stamp, text)
            else:
                self._flush()
        for part in more:
            self._continue(part)

    def message(self, text: str, stamp: Stamp | None = None) -> None:
        """Take one whole message whose time is known apart from it (journal, /dev/kmsg)."""
        if self._pending is None and not _WORDS.search(text):
            self._see_time(stamp)
            return
        first, *more = text[:MAX_LINE_CHARS].replace("\\x0a", "\n").split("\n")
        self._record(stamp, first)
        for part in more:
            self._continue(part)

    def next_boot(self) -> None:
        """Say that what follows is of the next boot."""
        self._flush()
        self._messages.next_boot()
        self._last_uptime = None
        self.from_boot = self._begun = False

    def events(self) -> tuple[KernelEvent, ...]:
        """Return what was found, in the order of first occurrence; the last boot is 0."""
        self._flush()
        if self._last_line:
            self._see_time(split_line(self._last_line, self._now)[0])
        return tuple(self._event(group) for group in self._groups.all if group.count)

    def _event(self, group: Group) -> KernelEvent:
        key = group.key
        return KernelEvent(
            kind=key.kind,
            text=group.text,
            boot=group.boot - self._groups.boot,
            count=group.count,
            seconds_ago=self._age(group),
            address=key.address,
            code=key.code,
            fatal=key.fatal,
            process=group.process,
            pid=group.pid,
            cgroup=group.cgroup,
            after_driver_load=group.after_load,
        )

    def _age(self, group: Group) -> float | None:
        if group.last is None:
            return None
        seconds, wall = group.last
        told = self._now if wall else self._uptime if group.boot == self._groups.boot else None
        newest = max((v for (b, w), v in self._newest.items() if w is wall and (wall or b == group.boot)), default=None)
        end = told if told is not None else newest
        if end is None or (not wall and group.boot != self._groups.boot):
            return None
        return max(0.0, round(end - seconds, 1))

    def _see_time(self, stamp: Stamp | None) -> None:
        if stamp is None:
            return
        place = (self._groups.boot, stamp.wall)
        self._newest[place] = max(stamp.seconds, self._newest.get(place, stamp.seconds))
        if len(self._newest) > 256:
            del self._newest[next(iter(self._newest))]

    def _continue(self, part: str) -> None:
        if self._pending is not None and len(self._pending[1]) < _MAX_JOINED:
            self._pending[1].append(part.strip())

    def _record(self, stamp: Stamp | None, text: str) -> None:
        pending = self._pending
        if pending is not None:
            if _JOINS.match(pending[1][0]) and _JOINED.match(text) and len(pending[1]) < _MAX_JOINED:
                pending[1].append(text.strip())
                return
            self._flush()
        self._see_time(stamp)
        if stamp is not None and not stamp.wall:
            if self._last_uptime is not None and stamp.seconds < self._last_uptime - _CLOCK_BACK_SECONDS:
                self.next_boot()
            self._last_uptime = stamp.seconds
        if _WORDS.search(text):
            self._pending = (stamp, [text.strip()])

    def _flush(self) -> None:
        if self._pending is not None:
            (stamp, parts), self._pending = self._pending, None
            whole = " ".join(p.removeprefix("NVRM:").strip() if n else p for n, p in enumerate(parts))
            if not whole.startswith("Linux version "):
                self._messages.take(whole[:MAX_LINE_CHARS], stamp)
            else:
                if self._begun:
                    self.next_boot()
                self.from_boot = True
            self._begun = True


def read_events(
    lines: Iterable[str], *, now: float | None = None, uptime: float | None = None
) -> tuple[KernelEvent, ...]:
    """Return the events of a kernel log, read line by line."""
    reader = KernelLogReader(now=now, uptime=uptime)
    for line in lines:
        reader.feed(line)
    return reader.events()
