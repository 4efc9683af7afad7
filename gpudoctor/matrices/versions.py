"""Driver and CUDA versions as numbers that compare."""


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
