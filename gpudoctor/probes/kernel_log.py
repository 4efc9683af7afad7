"""The kernel log of this boot, and lost GPUs of earlier ones: from the journal, /dev/kmsg, or files."""

import errno
import itertools
import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from gpudoctor.evidence.kernel_line import Stamp
from gpudoctor.evidence.kernel_log import KernelLogReader
from gpudoctor.facts.kernel_log import KernelEvent, KernelLog
from gpudoctor.probes.command import SYSTEM_PATH, find
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("kernel_log",)
OPTIONS: tuple[str, ...] = ()

#: A firewall that logs every packet writes millions of lines; the newest are enough.
_MAX_LINES = 100_000
_MAX_FILE_BYTES = 32 * 1024 * 1024
_MAX_EARLIER_EVENTS = 200
_JOURNAL_SECONDS = 6.0
_EARLIER_SECONDS = 1.5
_EARLIER_DAYS = 30
_LOST = "fallen off the bus|Xid .*: 79,"
_LOST_WORDS = re.compile(_LOST)
_BYTES_MESSAGE = re.compile(r'"MESSAGE"\s*:\s*\[')
_FILES = ("/var/log/kern.log", "/var/log/messages", "/var/log/syslog", "/var/log/dmesg")
_CUT = "-- cut --"
_REFUSAL = ("insufficient permissions", "not seeing messages from other users", "Permission denied")


class _Clock(NamedTuple):
    now: float
    uptime: float

    def reader(self) -> KernelLogReader:
        return KernelLogReader(now=self.now, uptime=self.uptime)


def probe(out: Reporter, root: Root) -> None:
    """Fill ``kernel_log`` from the first source that has any lines."""
    clock = _Clock(time.time(), time.clock_gettime(time.CLOCK_MONOTONIC))
    refused: list[str] = []
    log, whole = _from_journal(root, clock, refused)
    if not whole:
        # The journal runs forward: one that was cut lacks the newest lines, which matter most.
        log = _from_kmsg(root, clock, refused) or _from_files(root, clock, refused) or log
    if log is None and refused:
        places = " or ".join(refused)
        way = "add the user to the group systemd-journal or adm, or use sudo"
        out.unavailable("kernel_log", f"no permission to read {places}: {way}", "no-permission")
    elif log is None:
        out.unavailable("kernel_log", "there is no journal, no /dev/kmsg and no kernel log file here")
    else:
        out.section("kernel_log", log)
        if log.source == "journal" and not out.left_out("earlier boots"):
            out.start("earlier boots", doing="journalctl", patience=5)
            boots, events = _earlier_boots(root, clock)
            out.set("kernel_log", boots=log.boots + boots, events=(*log.events, *events))


def _log(reader: KernelLogReader, source: str, *, from_boot: bool | None = None) -> KernelLog:
    events = reader.events()
    whole = reader.from_boot and not reader.dropped if from_boot is None else from_boot
    return KernelLog(source=source, from_boot=whole, boots=reader.boots, events=events)


def _journal_place(root: Root) -> list[str] | None:
    """Return the arguments that point journalctl to this root's journal, None when it has none."""
    if root.live:
        return []
    for folder in ("/var/log/journal", "/run/log/journal"):
        if root.stat(folder) is not None:
            return ["--directory", str(root.path(folder))]
    return None


def _from_journal(root: Root, clock: _Clock, refused: list[str]) -> tuple[KernelLog | None, bool]:
    """Return what the journal has of this boot, and whether that is all of it."""
    place = _journal_place(root)
    if place is None or find("journalctl") is None:
        return None, False
    reader = clock.reader()
    seen = 0
    whole = True
    asked = ["--dmesg", "--boot", "--lines", str(_MAX_LINES), "--output", "short-unix", "--all", *place]
    for line in _journalctl(asked, _JOURNAL_SECONDS):
        if line is _CUT:
            whole = False
        elif line[:1].isdigit():
            seen += 1
            reader.feed(line)
        elif seen and line[:1] == " ":
            reader.feed(line)
        elif any(word in line for word in _REFUSAL) and "the journal" not in refused:
            refused.append("the journal")
    if not seen:
        return None, False
    return _log(reader, "journal", from_boot=None if whole else False), whole


def _earlier_boots(root: Root, clock: _Clock) -> tuple[int, list[KernelEvent]]:
    """Return how many earlier boots the journal knows, and when a GPU was lost in one of them."""
    place = _journal_place(root) or []
    numbers: dict[str, int] = {}
    for line in _journalctl(["--list-boots", "--quiet", *place], _EARLIER_SECONDS):
        words = line.split()
        if len(words) > 1 and words[0].lstrip("-").isdigit():
            numbers[words[1]] = int(words[0])
    earlier = sum(number < 0 for number in numbers.values())
    if not earlier:
        return 0, []
    asked = ["_TRANSPORT=kernel", "--reverse", "--since", f"-{_EARLIER_DAYS}d", "--output", "json",
             "--output-fields", "MESSAGE", "--quiet", *place]
    lines = _journalctl([*asked, "--grep", _LOST, "--lines", str(_MAX_EARLIER_EVENTS)], _EARLIER_SECONDS)
    first = next(lines, "")
    if "pattern matching" in first:
        # A journalctl built without PCRE2 cannot search: read what the time allows, newest first.
        lines, first = _journalctl([*asked, "--lines", str(_MAX_LINES)], _EARLIER_SECONDS), ""
    readers: dict[int, KernelLogReader] = {}
    for line in itertools.chain([first], lines):
        if not _LOST_WORDS.search(line) and not _BYTES_MESSAGE.search(line):
            continue
        try:
            entry = msgspec.json.decode(line)
            boot = numbers.get(entry["_BOOT_ID"], 0)
            text, when = _message(entry["MESSAGE"]), int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            continue
        if boot < 0:
            readers.setdefault(boot, clock.reader()).message(text, Stamp(when, True))
    found = [msgspec.structs.replace(e, boot=boot) for boot in sorted(readers) for e in readers[boot].events()]
    return earlier, found


def _message(value: object) -> str:
    """Journald gives a list of bytes for a message that is not UTF-8."""
    return bytes(value).decode("utf-8", "replace") if isinstance(value, list) else str(value)


def _journalctl(arguments: list[str], seconds: float) -> Iterator[str]:
    """Yield what journalctl prints, notices too, for at most so many seconds; then ``_CUT``."""
    path = find("journalctl")
    if path is None:
        return
    process = subprocess.Popen(
        [path, "--no-pager", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": SYSTEM_PATH, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "HOME": "/"},
        cwd="/",
    )
    pipe = process.stdout
    assert pipe is not None
    deadline = time.monotonic() + seconds
    rest = b""
    try:
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([pipe], [], [], left)[0]:
                continue
            data = os.read(pipe.fileno(), 1 << 16)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace")
            rest = rest[-(1 << 20) :]
        else:
            yield _CUT
        if rest:
            yield rest.decode("utf-8", "replace")
    finally:
        process.kill()
        pipe.close()
        process.wait()


def _from_kmsg(root: Root, clock: _Clock, refused: list[str]) -> KernelLog | None:
    if not root.is_character_device("/dev/kmsg"):
        return None
    try:
        device = os.open(root.path("/dev/kmsg"), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        refused.append("/dev/kmsg")
        return None
    except OSError:
        return None
    reader = clock.reader()
    first: int | None = None
    overrun = False
    try:
        for _ in range(_MAX_LINES * 10):
            try:
                record = os.read(device, 1 << 14)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.EPIPE:
                    break
                overrun = True
                continue
            number = _take_record(reader, record)
            first = number if first is None else first
            if not record:
                break
    finally:
        os.close(device)
    if first is None:
        return None
    return _log(reader, "kmsg", from_boot=first == 0 and not overrun and not reader.dropped)


def _take_record(reader: KernelLogReader, record: bytes) -> int | None:
    """Read one record of /dev/kmsg (``6,1234,5678901,-;text``) and return its number."""
    head, _, text = record.decode("utf-8", "replace").partition(";")
    try:
        priority, number, microseconds = (int(part) for part in head.split(",")[:3])
    except ValueError:
        return None
    if priority >> 3 == 0:
        reader.message(text.split("\n")[0], Stamp(microseconds / 1e6, False))
    return number


def _from_files(root: Root, clock: _Clock, refused: list[str]) -> KernelLog | None:
    for name in _FILES:
        status = root.stat(name)
        if status is None or status.st_size == 0:
            continue
        if root.live and status.st_mtime < clock.now - clock.uptime:
            continue
        reader = clock.reader()
        try:
            older = _rotated(root, name)
            if older is not None:
                _feed_file(reader, root, older)
            _feed_file(reader, root, name)
        except PermissionError:
            refused.append(name)
            continue
        except OSError:
            continue
        # The file dmesg is written once, at the end of the boot.
        return _log(reader, name, from_boot=False if name.endswith("/dmesg") else None)
    return None


def _rotated(root: Root, name: str) -> str | None:
    """Return the log file before this one, when it is there uncompressed."""
    if root.stat(f"{name}.1") is not None:
        return f"{name}.1"
    dated = [found for found in root.glob(f"{name}-*") if found[-1:].isdigit()]
    return dated[-1] if dated else None


def _feed_file(reader: KernelLogReader, root: Root, name: str) -> None:
    with open(root.path(name), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > _MAX_FILE_BYTES:
            file.seek(size - _MAX_FILE_BYTES)
            file.readline(1 << 16)
        left = _MAX_FILE_BYTES
        while left > 0 and (line := file.readline(1 << 16)):
            left -= len(line)
            reader.feed(line.decode("utf-8", "replace"))
