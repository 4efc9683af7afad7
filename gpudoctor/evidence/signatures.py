"""Finding the lines whose meaning is known in a log of any size.

Three sieves, each coarser than the next and much faster: the set of all words of a chunk, the signatures' own words
in the chunk, and only then a signature's pattern on a line.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.evidence.source import Chunk
from gpudoctor.matrices import signatures
from gpudoctor.matrices.signatures import MAX_LINE_CHARS, Signature

#: Letters in lower case, all else blank: words are runs of letters.
_LETTERS = bytes(
    byte if 97 <= byte <= 122 else byte + 32 if 65 <= byte <= 90 else 32 for byte in range(256)
)
_DIGITS = b"0123456789"
_MAX_MATCHES = 512
_MAX_REMEMBERED = 20_000
_TEXT_CHARS = 300
#: Lines that differ only in figures are tried so often before they are taken for harmless.
_MAX_TRIES = 5000
_FITS = -1_000_000_000


class Hit(NamedTuple):
    """A signature seen: its first line, and how many lines of this file it fits."""

    signature: Signature
    file: str
    line: int
    text: str
    values: dict[str, str]
    lines: int = 1


def words_of(data: bytes) -> bytes:
    """Return every word of a chunk once, blank between them."""
    return b" ".join(set(data.translate(_LETTERS).split()))


class Sieve:
    """Words to be found in chunks, each with whatever belongs to it."""

    def __init__(self, literals: dict[bytes, list[int]]) -> None:
        self._literals = [(word, owners, re.findall(rb"[a-z]{3,}", word)) for word, owners in literals.items()]

    def search(self, lower: bytes, words: bytes) -> Iterator[tuple[bytes, list[int]]]:
        """Yield the literals that are in a chunk (in lower case), with their owners."""
        for literal, owners, runs in self._literals:
            if all(run in words for run in runs) and literal in lower:
                yield literal, owners


class SignatureScanner:
    """Collects hits over the chunks of one file after another."""

    def __init__(self) -> None:
        self._table = signatures.table().signature
        literals: dict[bytes, list[int]] = {}
        for number, each in enumerate(self._table):
            for word in each.any:
                literals.setdefault(word.encode(), []).append(number)
        self._sieve = Sieve(literals)
        self._counts = [bool(re.search(r"\d", f"{each.pattern}{each.unless}")) for each in self._table]
        self._hits: dict[tuple[int, str], Hit] = {}
        self._known: dict[tuple[int, bytes], int] = {}

    def feed(self, chunk: Chunk, lower: bytes, words: bytes, file: str) -> None:
        """Take the next chunk of a file, in its order."""
        seen: set[tuple[int, int]] = set()
        for literal, owners in self._sieve.search(lower, words):
            place = lower.find(literal)
            while place >= 0:
                start = lower.rfind(b"\n", 0, place) + 1
                end = lower.find(b"\n", place)
                end = len(lower) if end < 0 else end
                for number in owners:
                    if (number, start) not in seen:
                        seen.add((number, start))
                        self._try(number, chunk, start, end, file)
                place = lower.find(literal, end)

    def _try(self, number: int, chunk: Chunk, start: int, end: int, file: str) -> None:
        raw = chunk.data[start : min(end, start + MAX_LINE_CHARS)]
        # Figures change in every line. To most patterns they do not matter; where they do, many tries are enough.
        shape = (number, raw.translate(None, _DIGITS))
        tries = self._known.get(shape, 0)
        old = self._hits.get((number, file))
        if tries >= (_MAX_TRIES if self._counts[number] else 1):
            return
        if tries < 0 and old is not None and not self._counts[number]:
            self._hits[number, file] = old._replace(lines=old.lines + 1)
            return
        text = raw.decode("utf-8", "replace")
        values = self._table[number].values(text)
        if len(self._known) < _MAX_REMEMBERED:
            self._known[shape] = tries + 1 if values is None else _FITS
        if values is None:
            return
        if old is not None:
            self._hits[number, file] = old._replace(lines=old.lines + 1)
        elif len(self._hits) < _MAX_MATCHES:
            line = chunk.line + chunk.data.count(b"\n", 0, start)
            shown = " ".join(text.split())[:_TEXT_CHARS]
            self._hits[number, file] = Hit(self._table[number], file, line, shown, values)

    def one_line(self, text: str, line: int, file: str) -> None:
        """Take one line that stood inside something else: a value of a note."""
        data = text.encode("utf-8", "replace") + b"\n"
        lower = data.lower()
        self.feed(Chunk(data, line), lower, words_of(data), file)

    def hits(self) -> list[Hit]:
        """Return what was found, weightiest first, then by place."""
        return sorted(self._hits.values(), key=lambda hit: (-hit.signature.weight, hit.file, hit.line))


def established(hits: list[Hit], context: frozenset[str]) -> list[Hit]:
    """Return the hits that hold in this context, without those that a weightier one explains."""
    proved: set[str] = set()
    kept: list[Hit] = []
    for hit in hits:
        each = hit.signature
        if not set(each.when) <= context or set(each.unless) & context:
            continue
        refuted = {text.removeprefix("proved:") for text in each.unless if text.startswith("proved:")}
        # The same problem, said again in other words, is more evidence of it.
        if (refuted & proved or ("any" in refuted and proved)) and each.check not in proved:
            continue
        proved.add(each.check)
        kept.append(hit)
    return kept
