"""Names of nodes as administrators write them: ``gpu[01-04,07]``."""

import re
from collections.abc import Iterable

_NUMBERED = re.compile(r"(.*?)([0-9]{1,18})")


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts ``gpu2`` before ``gpu10``."""
    parts = re.split(r"([0-9]{1,18})", name)
    return tuple((0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts if part)


def fold(names: Iterable[str]) -> str:
    """Return the names in few words: ``gpu[01-03,07], login``. Numbers of different widths stay apart."""
    groups: dict[tuple[str, int], list[int]] = {}
    for name in sorted(set(names), key=natural):
        found = _NUMBERED.fullmatch(name)
        groups.setdefault((found[1], len(found[2])) if found else (name, 0), []).append(int(found[2]) if found else 0)
    return ", ".join(_group(prefix, width, numbers) for (prefix, width), numbers in groups.items())


def _group(prefix: str, width: int, numbers: list[int]) -> str:
    if width == 0:
        return prefix
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]:0{width}}" + (f"-{run[-1]:0{width}}" if len(run) > 1 else "") for run in runs]
    return prefix + (texts[0] if len(texts) == 1 and "-" not in texts[0] else f"[{','.join(texts)}]")
