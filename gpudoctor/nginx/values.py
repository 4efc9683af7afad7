"""nginx's times and sizes: ``1m30s``, ``20m``."""

import re

_TIME = re.compile(r"(?:(\d+)w)?\s*(?:(\d+)d)?\s*(?:(\d+)h)?\s*(?:(\d+)m(?!s))?\s*(?:(\d+)s?(?!\w))?\s*(?:(\d+)ms)?")
_SECONDS = (7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0, 0.001)
_SIZE = re.compile(r"(\d{1,15})([kKmMgG]?)")
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30}


def seconds(text: str) -> float | None:
    """Return a time in seconds, None where nginx would refuse it."""
    found = _TIME.fullmatch(text[:64].strip())
    if found is None or not any(found.groups()):
        return None
    return sum(int(part[:15]) * unit for part, unit in zip(found.groups(), _SECONDS, strict=True) if part)


def size(text: str) -> int | None:
    """Return a size in bytes, None where nginx would refuse it."""
    found = _SIZE.fullmatch(text)
    return int(found[1]) << _UNITS[found[2].lower()] if found is not None else None
