"""One printed line of a kernel log, parted into its time and the kernel's message."""

import datetime
import re
from typing import NamedTuple

_KMSG = re.compile(r"\d+,\d+,(\d+),[^;]{0,40};")
_LEVEL = re.compile(r"(?:kern|user|daemon|syslog)\s*:\s*\w+\s*:\s+")
_UPTIME = re.compile(r"\[\s*(\d+\.\d+)\]\s?")
_BRACKET_TIME = re.compile(r"\[([^\[\]]{1,60})\]:?\s?")
_CTIME = re.compile(r"(?:\w{3} )?(\w{3}) +(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})")
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:?\d\d)?")
_SYSLOG = re.compile(r"([^\W\d]{3,5})\.? +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.\d+)?\s")
_UNIX = re.compile(r"(\d{9,11}\.\d{3,6})\s")
_KERNEL_TAG = re.compile(r"(?:\S+\s+)?kernel(?:\[\d+\])?:\s?")
_PROGRAM_TAG = re.compile(r"(?:\S+\s+)?[A-Za-z][^\s:\[\]]*\[\d+\]:\s")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class Stamp(NamedTuple):
    """A time as the line gives it: seconds since boot, or since 1970 when ``wall``."""

    seconds: float
    wall: bool


def split_line(line: str, now: float | None = None) -> tuple[Stamp | None, str | None]:
    """Part a printed line into its time and the kernel's message; None for the message of another program."""
    stamp: Stamp | None = None
    rest = line.lstrip()
    if found := _KMSG.match(rest):
        return Stamp(int(found[1]) / 1e6, False), rest[found.end() :]
    if found := _LEVEL.match(rest):
        rest = rest[found.end() :]
    prefixed = True
    if found := _UPTIME.match(rest):
        stamp = Stamp(float(found[1]), False)
    elif found := _ISO.match(rest):
        stamp = _iso(found)
    elif found := _UNIX.match(rest):
        stamp = Stamp(float(found[1]), True)
    elif found := _SYSLOG.match(rest):
        stamp = _syslog(found, now)
    elif (found := _BRACKET_TIME.match(rest)) and re.search(r"\d\d:\d\d|^\s*\+\d", found[1]):
        inner = _ISO.match(found[1])
        outer = _CTIME.match(found[1])
        stamp = _iso(inner) if inner else _ctime(outer) if outer else None
    else:
        prefixed = False
    if found is not None and prefixed:
        rest = rest[found.end() :].lstrip(" :") if found.re is _ISO else rest[found.end() :].lstrip()
    if found := _KERNEL_TAG.match(rest):
        rest = rest[found.end() :].lstrip()
        if uptime := _UPTIME.match(rest):
            stamp = stamp or Stamp(float(uptime[1]), False)
            rest = rest[uptime.end() :]
    elif prefixed and _PROGRAM_TAG.match(rest):
        return stamp, None
    return stamp, rest


def _time(year: int, month: int, day: int, clock: tuple[int, int, int], offset: datetime.tzinfo | None) -> float | None:
    try:
        return datetime.datetime(year, month, day, *clock, tzinfo=offset).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _stamp(seconds: float | None) -> Stamp | None:
    return None if seconds is None else Stamp(seconds, True)


def _iso(found: "re.Match[str]") -> Stamp | None:
    year, month, day, *clock = (int(found[n]) for n in range(1, 7))
    zone = found[8]
    offset: datetime.tzinfo | None = None
    if zone == "Z":
        offset = datetime.timezone.utc
    elif zone:
        minutes = int(zone[1:3]) * 60 + int(zone[-2:])
        if minutes >= 24 * 60:
            return None
        offset = datetime.timezone(datetime.timedelta(minutes=minutes if zone[0] == "+" else -minutes))
    seconds = _time(year, month, day, (clock[0], clock[1], clock[2]), offset)
    return None if seconds is None else Stamp(seconds + float(f"0.{found[7] or 0}"), True)


def _month(name: str) -> int | None:
    short = name.lower()[:3]
    return _MONTHS.index(short) + 1 if short in _MONTHS else None


def _ctime(found: "re.Match[str]") -> Stamp | None:
    month = _month(found[1])
    if month is None:
        return None
    return _stamp(_time(int(found[6]), month, int(found[2]), (int(found[3]), int(found[4]), int(found[5])), None))


def _syslog(found: "re.Match[str]", now: float | None) -> Stamp | None:
    """Find the year that the line leaves out: the last one in which it is not in the future."""
    month = _month(found[1])
    if month is None:
        return None
    clock = (int(found[3]), int(found[4]), int(found[5]))
    if now is None:
        return _stamp(_time(2000, month, int(found[2]), clock, None))
    year = datetime.datetime.fromtimestamp(now).year
    for candidate in (year, year - 1):
        seconds = _time(candidate, month, int(found[2]), clock, None)
        if seconds is not None and seconds <= now + 86400:
            return Stamp(seconds, True)
    return None
