"""Versions as things that compare: drivers and CUDA as numbers, software releases as packaging sees them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.version import Version


def version_tuple(version: str) -> tuple[int, ...]:
    """Return `(535, 247, 1)` for `"535.247.01"`. `ValueError` for what is not digits and dots."""
    return tuple(int(part) for part in version.strip().split("."))


def at_least(version: str, floor: str) -> bool:
    """Tell whether a driver or CUDA version is `floor` or newer; `"12"` and `"12.0"` are the same version.

    `ValueError` for what is not digits and dots.
    """
    have, need = version_tuple(version), version_tuple(floor)
    length = max(len(have), len(need))
    return have + (0,) * (length - len(have)) >= need + (0,) * (length - len(need))


@lru_cache(maxsize=1024)
def release(version: str) -> Version | None:
    """Return a software version in comparable form (`0.8.5.post1`, `v0.32.15`), None for what is none."""
    from packaging.version import Version

    try:
        return Version(version)
    except ValueError:  # more than InvalidVersion: Python refuses numbers of thousands of digits
        return None


def within(version: str, since: str | None, before: str | None) -> bool:
    """Tell whether a software version lies in `since <= version < before`, None being open.

    A pre-release or development build counts as the release it leads to. False for what is no version.
    """
    have = release(version)
    if have is None:
        return False
    have = release(".".join(str(part) for part in have.release) + (f".post{have.post}" if have.post else ""))
    first, end = release(since or "0"), release(before) if before else None
    return have is not None and first is not None and have >= first and (end is None or have < end)


def same_release(version: str, other: str) -> bool:
    """Tell whether two spellings name one release (`v0.33.0`, `0.33.0+cu129`, `0.33`); the local part is left aside."""
    left, right = release(version), release(other)
    return left is not None and right is not None and left.public == right.public
