"""Looking again: until a machine is ready, or for ever."""

import re
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from gpudoctor.cli.failure import Failure

_T = TypeVar("_T")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
#: Between two looks of --wait: a driver that loads and a daemon that starts take seconds.
_PAUSE_SECONDS = 2.0
_LONGEST_SECONDS = 7 * 86400.0


def seconds_of(text: str, flag: str) -> float:
    """Read ``90``, ``30s``, ``5m``, ``1h``.

    Raises:
        Failure: It is no time span of at most a week.
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([a-z]{0,3})", text.strip().lower())
    if found is None or found[2] not in _UNITS or not 0 < float(found[1]) * _UNITS[found[2]] <= _LONGEST_SECONDS:
        raise Failure(f"{text[:40]!r} is no time span", flag, "for example 30s, 5m or 1h")
    return float(found[1]) * _UNITS[found[2]]


def until(look: Callable[[], _T], ready: Callable[[_T], bool], why: Callable[[_T], str], seconds: float) -> _T:
    """Look until it is ready or the time is over, and return what was seen last.

    Each new reason to wait is said once on standard error.
    """
    deadline = time.monotonic() + seconds
    said = ""
    while True:
        seen = look()
        left = deadline - time.monotonic()
        if ready(seen) or left <= 0:
            return seen
        if why(seen) != said:
            said = why(seen)
            sys.stderr.write(f"gpudoctor: waiting {left:.0f} s more: {said}\n")
            sys.stderr.flush()
        time.sleep(min(_PAUSE_SECONDS, left))


def for_ever(look: Callable[[], _T], show: Callable[[_T], None], seconds: float) -> None:
    """Look and show again and again, one look every so many seconds however long it takes, until interrupted."""
    while True:
        started = time.monotonic()
        show(look())
        time.sleep(max(0.0, seconds - (time.monotonic() - started)))
