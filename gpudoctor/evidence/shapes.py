"""Shapes of log lines: a line in lower case without its figures. Logs repeat few of them, whatever their size."""

import re
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

OwnerT = TypeVar("OwnerT")
DIGITS = b"0123456789"
_LOWER = bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in range(256))
#: Letters, all else blank: words are runs of letters.
_LETTERS = bytes(byte if 97 <= byte <= 122 else byte + 32 if 65 <= byte <= 90 else 32 for byte in range(256))
#: What names one request among many, and is in no signature: a UUID, eight and more hexadecimal digits.
_IDS = re.compile(rb"\b[0-9a-f][0-9a-f-]{7,}\b")
#: A row of Base64, or of a hex dump, figures left out: `nvidia-bug-report.sh` writes megabytes of both.
_DUMP = re.compile(rb"[a-z+/=]{40,100}|[a-f]{0,16}:((?:[ \t]{1,2}[a-f]{0,8}){8,})(?:[ \t|].{0,80})?")
_LEAST_HEX_LETTERS = 6
_SAMPLE_BYTES = 1 << 16


def shapes_of(data: bytes) -> list[bytes]:
    """Return the shape of every line."""
    return data.translate(_LOWER, DIGITS).split(b"\n")


def without_ids(data: bytes) -> bytes:
    """Return a text in lower case without identifiers; this takes twice as long as all else that is done to a line."""
    return _IDS.sub(b"", data.lower())


def has_many_ids(data: bytes) -> bool:
    """Tell whether lines are of so many shapes because of the identifiers in them."""
    sample = data[:_SAMPLE_BYTES]
    return len(set(shapes_of(without_ids(sample)))) * 2 < len(set(shapes_of(sample)))


def is_dump(shape: bytes) -> bool:
    """Tell whether a line holds data and no message."""
    found = _DUMP.fullmatch(shape)
    return found is not None and (found[1] is None or len(found[1].translate(None, b" \t")) >= _LEAST_HEX_LETTERS)


def words_of(data: bytes) -> bytes:
    """Return every word once, blank between them."""
    return b" ".join(set(data.translate(_LETTERS).split()))


def lines_with(text: bytes, literal: bytes) -> Iterator[bytes]:
    """Yield the lines of a text that hold the literal."""
    place = text.find(literal)
    while place >= 0:
        end = text.find(b"\n", place)
        end = len(text) if end < 0 else end
        yield text[text.rfind(b"\n", 0, place) + 1 : end]
        place = text.find(literal, end)


class Sieve(Generic[OwnerT]):
    """Words to be found in shapes, each with whatever belongs to it. Figures in words are left out, as in shapes."""

    def __init__(self, literals: Iterable[tuple[str, OwnerT]]) -> None:
        owners: dict[bytes, list[OwnerT]] = {}
        for word, owner in literals:
            owners.setdefault(word.encode().translate(None, DIGITS), []).append(owner)
        runs = {literal: frozenset(re.findall(rb"[a-z]{3,}", literal)) for literal in owners}
        self._literals = [(literal, numbers, runs[literal]) for literal, numbers in owners.items()]
        self._runs = frozenset[bytes]().union(*runs.values())

    def search(self, text: bytes, words: bytes) -> Iterator[tuple[bytes, list[OwnerT]]]:
        """Yield the literals that are in a text, in the order in which they were given, with their owners."""
        held = {run for run in self._runs if run in words}
        for literal, owners, runs in self._literals:
            if runs <= held and literal in text:
                yield literal, owners
