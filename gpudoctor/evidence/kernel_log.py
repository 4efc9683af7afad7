"""Kernel log text, in any form in which it is printed or pasted, to the events that checks judge.

Sample input, all of one meaning:

    [ 1843.308145] NVRM: Xid (PCI:0000:1a:00): 79, pid=4012, name=python3, GPU has fallen off the bus.
    Dec  2 11:49:53 gpu01 kernel: [  885.242168] NVRM: GPU 0000:1a:00.0: GPU has fallen off the bus.
    2025-01-25T10:34:54,859532+00:00 NVRM: Xid (PCI:0000:1a:00): 79, GPU has fallen off the bus.
    4,1021,1843308145,-;NVRM: GPU at PCI:0000:1a:00 has fallen off the bus.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from gpudoctor.evidence.kernel_line import Stamp, split_line
from gpudoctor.facts.kernel_log import EventKind, KernelEvent

MAX_LINE_CHARS = 4096
MAX_EVENTS = 2000
_TEXT_CHARS = 300
_MAX_JOINED = 12
#: Messages of a driver's probe routine precede its "loading" line by less than this.
_LOAD_SECONDS = 30.0
#: Backward jump of the kernel's clock that means another boot.
_CLOCK_BACK_SECONDS = 60.0

_WORDS = re.compile(
    r"NVRM|Xid|nvidia|oom-kill|Killed process|Bus Error|AER:|BAR ?[0-5]\b|rejected|Lockdown|amdgpu|IO_PAGE_FAULT"
    r"|DMAR|Linux version",
)

_ADDRESS = r"((?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2})(?:\.[0-7])?\b"
_ANY_ADDRESS = re.compile(r"\b" + _ADDRESS)
_XID = re.compile(r"\bXid \((?:PCI:)?" + _ADDRESS + r"[^)]*\):\s*(\d{1,5})\b,?\s*(.*)", re.DOTALL)
_SXID = re.compile(r"\bSXid \((?:PCI:)?" + _ADDRESS + r"[^)]*\):\s*(\d{1,6})\b,?\s*(.*)", re.DOTALL)
_SEVERITY = re.compile(r"\b(non-?)?fatal\b", re.IGNORECASE)
_PID = re.compile(r"\bpid=['\"]?(\d+)")
_NAME = re.compile(r"\bname=([^,\s<>'\"][^,]{0,63})")
_FELL_OFF = re.compile(r"fallen\s+(?:NVRM:\s+)?off\s+(?:NVRM:\s+)?(?:of\s+)?the\s+bus")
_RM_INIT = re.compile(r"RmInitAdapter failed|rm_init_adapter\S*\s+failed")
_LOADING = re.compile(r"NVRM: loading NVIDIA UNIX")
_LOAD_BEGINS = re.compile(r"nvidia-nvlink: Nvlink Core is being initialized")
_RECOVERED = re.compile(r"to 0x0 \(None\)")
_RESET_DONE = re.compile(r"\b(?:nvidia|vfio-pci) " + _ADDRESS + r": reset done|GPU reset(?:\(\d+\))? succeeded")
_REJECTED = re.compile(r"Loading of .{0,60}?module.{0,40}? is rejected|unsigned module loading is restricted")
_UNSUPPORTED = re.compile(
    r"is\s+not\s+supported\s+by\s|supported\s+through\s+the\s+NVIDIA|requires\s+use\s+of\s+the\s+NVIDIA\s+open"
)
_KILLED = re.compile(r"Killed process (\d+)[, ]+\(([^)]*(?:\)[^),]*)?)\)")
_OOM_LINE = re.compile(r"\btask_memcg=([^,]*),task=(.{0,64}?),pid=(\d+)")
_AER = re.compile(r"\b" + _ADDRESS + r": (?:AER: )?PCIe Bus Error: severity=([^,]+)")
_NO_RECOVERY = re.compile(r"\bnvidia " + _ADDRESS + r": AER: can't recover")
_BAR = re.compile(r"(?<!VF )\bBAR ?([0-5])\b")
_BAR_FAILED = re.compile(r"can't assign|failed to assign|no space for")
_AMD = re.compile(
    r"ring \S{1,40} timeout|GPU reset begin|GPU reset(?:\(\d+\))? (?:end with ret = -|failed)"
    r"|Fatal error during GPU init"
    r"|uncorrectable (?:hardware )?errors? detected|GPU is lost|lost from (?:the )?bus"
    r"|probe (?:of .{1,40}?|with driver amdgpu )failed"
)
_AMD_FATAL = re.compile(r"Fatal error|uncorrectable|lost|probe|GPU reset\S{0,8} (?:end|failed)")
_IOMMU = re.compile(
    r"\bnvidia " + _ADDRESS + r": AMD-Vi: Event logged \[IO_PAGE_FAULT|DMAR: \[DMA[^\]]*\] Request device"
)
_STARTS = re.compile(
    r"\s+(?:\[|NVRM: (?:Xid|GPU|Rm|loading|API mismatch|The NVIDIA)|kernel: |\S+ kernel: |\S+: SXid|pcieport |amdgpu )"
)
_JOINS = re.compile(r"NVRM: (?:The NVIDIA|API mismatch|This PCI I/O region)")
_JOINED = re.compile(r"NVRM:\s+(?:[a-z(]|BAR|System Processor|Please see the|Firmware'|GPU[.,])(?!oading NVIDIA UNIX)")

#: What a driver loaded anew, or a reset, leaves behind.
_OF_DRIVER: frozenset[EventKind] = frozenset({"xid", "sxid", "fell-off-bus", "rm-init-failed", "api-mismatch"})


class _Group:
    """Events of one key: one line in a report, with a count."""

    __slots__ = (
        "after_load", "boot", "cgroup", "count", "key", "known_only_by_detail", "last", "pid", "process", "text",
    )

    def __init__(self, key: "_Key", text: str, boot: int) -> None:
        self.key, self.text, self.boot = key, text, boot
        self.count = 1
        self.last: Stamp | None = None
        self.process: str | None = None
        self.pid: int | None = None
        self.cgroup: str | None = None
        self.after_load = True
        self.known_only_by_detail = False


class _Key(NamedTuple):
    kind: EventKind
    address: str | None = None
    code: int | None = None
    fatal: bool | None = None
    other: str = ""


class KernelLogReader:
    """Reads a kernel log line by line, in its order, in bounded memory.

    Args:
        now: Seconds since 1970 at which the log was read; None for pasted text, where the newest line stands for it.
        uptime: Seconds since boot at which it was read, for lines that only tell the kernel's own clock.
    """

    def __init__(self, *, now: float | None = None, uptime: float | None = None) -> None:
        self._now, self._uptime = now, uptime
        self._groups: list[_Group] = []
        self._open: dict[_Key, _Group] = {}
        self._pending: tuple[Stamp | None, list[str]] | None = None
        self._newest: dict[tuple[int, bool], float] = {}
        self._last_uptime: float | None = None
        self._last_line = ""
        self._boot = 0
        self._begun = False
        self._load_begun = False
        self._kill: tuple[int, str] | None = None
        self.from_boot = False
        self.dropped = 0

    @property
    def boots(self) -> int:
        """How many boots were seen, at least one."""
        return self._boot + 1

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
        self._boot += 1
        self._open.clear()
        self._last_uptime = None
        self._load_begun = self.from_boot = self._begun = False

    def events(self) -> tuple[KernelEvent, ...]:
        """Return what was found, in the order of first occurrence; the last boot is 0."""
        self._flush()
        if self._last_line:
            self._see_time(split_line(self._last_line, self._now)[0])
        return tuple(self._event(group) for group in self._groups if group.count)

    def _event(self, group: _Group) -> KernelEvent:
        key = group.key
        return KernelEvent(
            kind=key.kind,
            text=group.text,
            boot=group.boot - self._boot,
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

    def _age(self, group: _Group) -> float | None:
        if group.last is None:
            return None
        seconds, wall = group.last
        told = self._now if wall else self._uptime if group.boot == self._boot else None
        newest = max((v for (b, w), v in self._newest.items() if w is wall and (wall or b == group.boot)), default=None)
        end = told if told is not None else newest
        if end is None or (not wall and group.boot != self._boot):
            return None
        return max(0.0, round(end - seconds, 1))

    def _see_time(self, stamp: Stamp | None) -> None:
        if stamp is None:
            return
        place = (self._boot, stamp.wall)
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
            self._understand(whole[:MAX_LINE_CHARS], stamp)

    def _understand(self, text: str, stamp: Stamp | None) -> None:
        """Make an event of one whole message, if it is of any interest."""
        if text.startswith("Linux version "):
            if self._begun:
                self.next_boot()
            self.from_boot = True
        elif _LOAD_BEGINS.search(text):
            self._leave_behind(None)
            self._load_begun = True
        elif found := _SXID.search(text):
            self._switch_error(found, text, stamp)
        elif found := _XID.search(text):
            self._gpu_error(found, text, stamp)
        elif "NVRM" in text or "nvidia" in text:
            self._driver_message(text, stamp)
        else:
            self._other_message(text, stamp)
        self._begun = True

    def _gpu_error(self, found: "re.Match[str]", text: str, stamp: Stamp | None) -> None:
        address, code = plain_address(found[1]), int(found[2])
        fatal = _severity(found[3]) if 144 <= code <= 150 else None
        if code == 154 and _RECOVERED.search(found[3]):
            self._leave_behind(address)
            self._add(_Key("gpu-reset", address), text, stamp)
            return
        group = self._add(_Key("xid", address, code, fatal), text, stamp)
        if group is None:
            return
        name, pid = _NAME.search(found[3]), _PID.search(found[3])
        group.process = name[1].strip() if name else group.process
        group.pid = int(pid[1]) if pid else group.pid
        if code == 154:
            group.text = text[:_TEXT_CHARS]
        if code == 79:
            words_only = self._open.pop(_Key("fell-off-bus", address, 79), None)
            if words_only is not None:
                words_only.count = 0

    def _switch_error(self, found: "re.Match[str]", text: str, stamp: Stamp | None) -> None:
        """One SXid is printed as three lines; only the one with a severity counts."""
        address, code, rest = plain_address(found[1]), int(found[2]), found[3]
        if rest.startswith(("Data", "Severity")):
            if not any(_Key("sxid", address, code, fatal) in self._open for fatal in (True, False, None)):
                group = self._add(_Key("sxid", address, code), text, stamp)
                if group is not None:
                    group.known_only_by_detail = True
            return
        by_detail = self._open.get(_Key("sxid", address, code))
        if by_detail is not None and by_detail.known_only_by_detail:
            by_detail.count = 0
            del self._open[by_detail.key]
        self._add(_Key("sxid", address, code, _severity(rest)), text, stamp)

    def _driver_message(self, text: str, stamp: Stamp | None) -> None:
        address = _address_in(text)
        if _FELL_OFF.search(text):
            if _Key("xid", address, 79) not in self._open:
                self._add(_Key("fell-off-bus", address, 79), text, stamp)
        elif _RM_INIT.search(text):
            # Two lines tell one failure; the second has less to say.
            if "RmInitAdapter" in text or _Key("rm-init-failed", address) not in self._open:
                self._add(_Key("rm-init-failed", address), text, stamp)
        elif "API mismatch" in text:
            self._add(_Key("api-mismatch"), text, stamp)
        elif _LOADING.search(text):
            if not self._load_begun:
                self._leave_behind(None, before=stamp)
            self._load_begun = False
            self._add(_Key("driver-loaded"), text, stamp)
        elif text.startswith("NVRM") and _UNSUPPORTED.search(text):
            self._add(_Key("gpu-unsupported", address), text, stamp)
        elif re.search(r"I/O region assigned|BAR\d is 0M", text):
            self._add(_Key("bar-unassigned", address), text, stamp)
        elif _RESET_DONE.search(text):
            self._leave_behind(address)
            self._add(_Key("gpu-reset", address), text, stamp)
        elif _NO_RECOVERY.search(text):
            self._add(_Key("pcie-error", address, other="no recovery"), text, stamp)
        elif _IOMMU.search(text):
            self._add(_Key("iommu-fault", address), text, stamp)
        else:
            self._other_message(text, stamp)

    def _other_message(self, text: str, stamp: Stamp | None) -> None:
        address = _address_in(text)
        if "oom-kill:" in text and (found := _OOM_LINE.search(text)):
            self._kill = (int(found[3]), found[1])
            self._killed(int(found[3]), found[2], text, stamp, told=False)
        elif found := _KILLED.search(text):
            self._killed(int(found[1]), found[2], text, stamp, told=True)
        elif _REJECTED.search(text):
            self._add(_Key("module-rejected"), text, stamp)
        elif found := _AER.search(text):
            severity = found[2].strip()
            fatal = _severity(severity) if severity.startswith("Uncorrect") else None
            self._add(_Key("pcie-error", plain_address(found[1]), None, fatal, severity), text, stamp)
        elif _IOMMU.search(text):
            self._add(_Key("iommu-fault", address), text, stamp)
        elif found := _BAR.search(text):
            self._bar(found[1], address, text, stamp)
        elif "amdgpu" in text and _RESET_DONE.search(text):
            self._add(_Key("gpu-reset", address), text, stamp)
        elif "amdgpu" in text and (found := _AMD.search(text)):
            fatal = True if _AMD_FATAL.search(found[0]) else None
            self._add(_Key("amdgpu-error", address, None, fatal, found[0].split()[0]), text, stamp)

    def _bar(self, number: str, address: str | None, text: str, stamp: Stamp | None) -> None:
        key = _Key("bar-unassigned", address, other=number)
        if _BAR_FAILED.search(text):
            if " io " not in text and "[io" not in text:
                self._add(key, text, stamp)
        elif "assigned" in text and "unassigned" not in text and key in self._open:
            # The kernel tries again with other windows; what it found room for in the end is no fault.
            self._open.pop(key).count = 0

    def _killed(self, pid: int, name: str, text: str, stamp: Stamp | None, *, told: bool) -> None:
        """Join the two lines of one kill: the first names the cgroup, the second the sizes."""
        cgroup = self._kill[1] if self._kill is not None and self._kill[0] == pid else None
        key = _Key("oom-kill", other=f"{name}\0{cgroup or ''}")
        group = self._open.get(key)
        if told and group is not None and cgroup is not None and group.pid == pid and group.known_only_by_detail:
            group.text, group.known_only_by_detail = text[:_TEXT_CHARS], False
            return
        group = self._add(key, text, stamp)
        if group is not None:
            group.process, group.pid, group.cgroup = name, pid, cgroup
            group.known_only_by_detail = not told

    def _add(self, key: _Key, text: str, stamp: Stamp | None) -> _Group | None:
        group = self._open.get(key)
        if group is None:
            if len(self._groups) >= MAX_EVENTS:
                self.dropped += 1
                return None
            group = self._open[key] = _Group(key, text[:_TEXT_CHARS], self._boot)
            self._groups.append(group)
        else:
            group.count += 1
        group.last = stamp or group.last
        return group

    def _leave_behind(self, address: str | None, before: Stamp | None = None) -> None:
        """Mark what lies before a driver load (``address`` None) or before the reset of one GPU."""
        for key, group in list(self._open.items()):
            if key.kind not in _OF_DRIVER or (address is not None and key.address != address):
                continue
            if before is not None and self._of_this_load(group, before):
                continue
            group.after_load = False
            del self._open[key]

    @staticmethod
    def _of_this_load(group: _Group, load: Stamp) -> bool:
        if group.last is None or group.last.wall is not load.wall:
            return "installed in this system" in group.text
        return group.last.seconds >= load.seconds - _LOAD_SECONDS


def read_events(
    lines: Iterable[str], *, now: float | None = None, uptime: float | None = None
) -> tuple[KernelEvent, ...]:
    """Return the events of a kernel log, read line by line."""
    reader = KernelLogReader(now=now, uptime=uptime)
    for line in lines:
        reader.feed(line)
    return reader.events()


def plain_address(address: str) -> str:
    """Return a PCI address as facts write it: four-digit domain, lower case, no function.

    NVML and newer drivers write the domain with eight digits.
    """
    parts = address.lower().partition(".")[0].split(":")
    if len(parts) == 2:
        parts.insert(0, "0000")
    parts[0] = parts[0][-4:] if len(parts[0]) > 4 and parts[0].startswith("0000") else parts[0]
    return ":".join(parts)


def _severity(text: str) -> bool | None:
    found = _SEVERITY.search(text)
    return None if found is None else found[1] is None


def _address_in(text: str) -> str | None:
    found = _ANY_ADDRESS.search(text)
    return plain_address(found[1]) if found else None
