"""Finding the lines whose meaning is known in a log of any size.

Logs repeat themselves: lines of one shape, equal but for case and figures, are judged once. Of the shapes that are new
in a chunk the coarse sieves go first: the set of all words, then the signatures' own words; only then is a pattern
tried on a line. Where figures decide, every line of the shape is tried.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gpudoctor.evidence.source import Chunk
from gpudoctor.matrices import signatures
from gpudoctor.matrices.signatures import MAX_LINE_CHARS, Signature

_LOWER = bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in range(256))
#: Letters, all else blank: words are runs of letters.
_LETTERS = bytes(byte if 97 <= byte <= 122 else byte + 32 if 65 <= byte <= 90 else 32 for byte in range(256))
_DIGITS = b"0123456789"
_MAX_MATCHES = 512
_MAX_SHAPES = 20_000
_MAX_SHAPE_BYTES = 500
_TEXT_CHARS = 300
#: Lines of one shape in which figures decide are tried so often before they are taken for harmless.
_MAX_TRIES = 5000
#: What users send to an engine is no message of the engine.
_QUOTED = (b"received request", b"prompt: '", b'prompt: "', b'"messages": [', b"'messages': [")


class Hit(NamedTuple):
    """A signature seen: its first line, and how many lines of this file it fits."""

    signature: Signature
    file: str
    line: int
    text: str
    values: dict[str, str]
    lines: int = 1


class Fresh(NamedTuple):
    """What a chunk says that was not said before: the shapes of its new lines, and every word in them once."""

    text: bytes
    words: bytes
    counts: "Counter[bytes]"


def words_of(data: bytes) -> bytes:
    """Return every word once, blank between them."""
    return b" ".join(set(data.translate(_LETTERS).split()))


class Sieve:
    """Words to be found in shapes, each with whatever belongs to it. Figures in words are left out, as in shapes."""

    def __init__(self, literals: Iterable[tuple[str, int]]) -> None:
        owners: dict[bytes, list[int]] = {}
        for word, owner in literals:
            owners.setdefault(word.encode().translate(None, _DIGITS), []).append(owner)
        self._literals = [(word, numbers, re.findall(rb"[a-z]{3,}", word)) for word, numbers in owners.items()]

    def search(self, text: bytes, words: bytes) -> Iterator[tuple[bytes, list[int]]]:
        """Yield the literals that are in a text, with their owners."""
        for literal, owners, runs in self._literals:
            if all(run in words for run in runs) and literal in text:
                yield literal, owners


def lines_with(text: bytes, literal: bytes) -> Iterator[bytes]:
    """Yield the lines of a text that hold the literal."""
    place = text.find(literal)
    while place >= 0:
        end = text.find(b"\n", place)
        end = len(text) if end < 0 else end
        yield text[text.rfind(b"\n", 0, place) + 1 : end]
        place = text.find(literal, end)


class _Known:
    """What is known of a shape: the signatures that fit all its lines, and those that each line must be tried with."""

    __slots__ = ("fits", "tries")

    def __init__(self) -> None:
        self.fits: list[int] = []
        self.tries: dict[int, int] = {}


class SignatureScanner:
    """Collects hits over the chunks of one file after another."""

    def __init__(self) -> None:
        self._table = signatures.table().signature
        self._sieve = Sieve((word, number) for number, each in enumerate(self._table) for word in each.any)
        self._any = [tuple(word.encode() for word in each.any) for each in self._table]
        self._figures = [
            bool(re.search(r"\d", f"{each.any}{each.pattern}{each.unless}")) for each in self._table
        ]
        self._hits: dict[tuple[int, str], Hit] = {}
        self._harmless: set[bytes] = set()
        self._telling: dict[bytes, _Known] = {}

    def feed(self, chunk: Chunk, file: str) -> Fresh:
        """Take the next chunk of a file, in its order; return what it says that no chunk said before."""
        shapes = chunk.data.translate(_LOWER, _DIGITS).split(b"\n")
        counts = Counter(shapes)
        new = [shape for shape in counts if shape not in self._harmless and shape not in self._telling]
        text = b"\n".join(new) + b"\n"
        words = words_of(text)
        candidates: dict[bytes, set[int]] = {}
        for literal, owners in self._sieve.search(text, words):
            for shape in lines_with(text, literal):
                candidates.setdefault(shape, set()).update(owners)
        told = self._telling.keys() & counts.keys()
        if candidates or told:
            self._judge(chunk, file, shapes, counts, candidates, told)
        if len(self._harmless) + len(self._telling) > _MAX_SHAPES:
            self._harmless.clear()
            self._telling.clear()
        self._harmless.update(shape for shape in new if len(shape) <= _MAX_SHAPE_BYTES and shape not in self._telling)
        return Fresh(text, words, counts)

    def _judge(
        self,
        chunk: Chunk,
        file: str,
        shapes: list[bytes],
        counts: "Counter[bytes]",
        candidates: dict[bytes, set[int]],
        told: set[bytes],
    ) -> None:
        lines = chunk.data.split(b"\n")
        places: dict[bytes, list[int]] = {}
        for number, shape in enumerate(shapes):
            if shape in candidates or shape in told:
                places.setdefault(shape, []).append(number)
        for shape in told:
            known = self._telling[shape]
            for number in known.fits:
                self._found(number, chunk, lines, places[shape][0], file, None, counts[shape])
            self._try_each(known, chunk, lines, places[shape], file)
        for shape, numbers in candidates.items():
            if any(word in shape for word in _QUOTED):
                continue
            known = _Known()
            for number in sorted(numbers):
                if self._figures[number]:
                    known.tries[number] = 0
                    continue
                values = self._values(number, lines[places[shape][0]])
                if values is not None:
                    known.fits.append(number)
                    self._found(number, chunk, lines, places[shape][0], file, values, counts[shape])
            self._try_each(known, chunk, lines, places[shape], file)
            if (known.fits or known.tries) and len(shape) <= _MAX_SHAPE_BYTES:
                self._telling[shape] = known

    def _try_each(self, known: _Known, chunk: Chunk, lines: list[bytes], places: list[int], file: str) -> None:
        for number, tries in known.tries.items():
            for place in places[: _MAX_TRIES - tries]:
                line = lines[place]
                lower = line[:MAX_LINE_CHARS].lower()
                if any(word in lower for word in self._any[number]):
                    values = self._values(number, line)
                    if values is not None:
                        self._found(number, chunk, lines, place, file, values, 1)
            known.tries[number] = min(_MAX_TRIES, tries + len(places))

    def _values(self, number: int, line: bytes) -> dict[str, str] | None:
        return self._table[number].values(line[:MAX_LINE_CHARS].decode("utf-8", "replace"))

    def _found(
        self, number: int, chunk: Chunk, lines: list[bytes], place: int, file: str,
        values: dict[str, str] | None, count: int,
    ) -> None:  # fmt: skip
        old = self._hits.get((number, file))
        if old is not None:
            self._hits[number, file] = old._replace(lines=old.lines + count)
        elif len(self._hits) < _MAX_MATCHES:
            text = lines[place][:MAX_LINE_CHARS].decode("utf-8", "replace")
            shown = " ".join(text.split())[:_TEXT_CHARS]
            figures = self._values(number, lines[place]) if values is None else values
            self._hits[number, file] = Hit(self._table[number], file, chunk.line + place, shown, figures or {}, count)

    def forget(self) -> None:
        """Forget which lines were seen: another file begins."""
        self._harmless.clear()
        self._telling.clear()

    def one_line(self, text: str, line: int, file: str) -> None:
        """Take one line that stood inside something else: a value of a note."""
        self.feed(Chunk(text.encode("utf-8", "replace") + b"\n", line), file)

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
