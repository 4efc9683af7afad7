"""Requirements files with hashes, as ``pip install --require-hashes`` reads them."""

import os
import re
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement

_LARGEST = 16 << 20
_DEPTH = 8
_HASH = re.compile(r"--hash[= ](\w+):([0-9a-fA-F]+)")


class RequirementsError(Exception):
    """A requirements file that cannot be read: message and place."""

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message)
        self.message, self.where = message, where


class Wanted(NamedTuple):
    """One line: the requirement, and the digests (algorithm, hex) of the files that may meet it."""

    requirement: Requirement
    hashes: tuple[tuple[str, str], ...]
    place: str


def read_requirements(path: str, depth: int = 0) -> list[Wanted]:
    """Read a file and those it includes with ``-r``.

    Raises:
        RequirementsError: It cannot be read, or a line of it means nothing.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise RequirementsError(f"cannot be read: {error.strerror or error}", path) from None
    if len(data) > _LARGEST or depth > _DEPTH:
        raise RequirementsError("it is too large, or includes itself", path)
    found: list[Wanted] = []
    held, begun = "", 1
    for number, raw in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        begun = begun if held else number
        line = re.sub(r"(?:^|\s)#.*$", "", held + raw)
        held = line[:-1] + " " if line.endswith("\\") else ""
        if held:
            continue
        included = re.match(r"\s*(?:-r|--requirement)[ =]?\s*(\S+)", line)
        if included:
            found += read_requirements(os.path.join(os.path.dirname(path), included[1]), depth + 1)
        elif line.strip() and not line.lstrip().startswith("-"):
            found.append(_wanted(line, f"{path}:{begun}"))
    return found


def _wanted(line: str, place: str) -> Wanted:
    hashes = tuple((name.lower(), digest.lower()) for name, digest in _HASH.findall(line))
    text = re.split(r"\s--\w", line, maxsplit=1)[0].strip()
    try:
        return Wanted(Requirement(text), hashes, place)
    except InvalidRequirement:
        raise RequirementsError(f"{text[:80]!r} is no requirement", place) from None
