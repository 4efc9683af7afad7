"""Finding the lines whose meaning is known in a log of any size.

Logs repeat themselves: lines of one shape, equal but for case and figures, are judged once. Of the shapes that are new
in a chunk the coarse sieves go first: the set of all words, then the signatures' own words; only then is a pattern
tried on a line. Where figures decide, every line of the shape is tried that holds the signature's word.
"""

import re
from collections import Counter
from typing import NamedTuple

from gpudoctor.evidence.shapes import Sieve, has_many_ids, is_dump, lines_with, shapes_of, without_ids, words_of
from gpudoctor.evidence.source import Chunk
from gpudoctor.matrices import signatures
from gpudoctor.matrices.signatures import MAX_LINE_CHARS, Signature

_MAX_MATCHES = 512
_MAX_SHAPES = 20_000
_MAX_SHAPE_BYTES = 500
#: Of so many lines one with a new shape is too many: are there identifiers in them?
_LINES_PER_NEW_SHAPE = 8
_TEXT_CHARS = 300
#: A pattern in which figures decide is tried on so many lines of one shape.
_MAX_TRIES = 1000
#: What users send to an engine is no message of the engine.
_QUOTED = (b"received request", b"prompt: '", b'prompt: "', b'"messages": [', b"'messages': [")


#: Signatures by their numbers, each with those of its words that a shape holds.
_Words = dict[int, list[bytes]]


class Hit(NamedTuple):
    """A signature seen: its first line, and how many lines of this file it fits."""

    signature: Signature
    file: str
    line: int
    text: str
    values: dict[str, str]
    lines: int = 1


class Fresh(NamedTuple):
    """What a chunk says that was not said before: the shapes of its new lines, and every word in them once.

    ``shapes`` are those of all lines, ``counts`` how often each is there.
    """

    text: bytes
    words: bytes
    shapes: list[bytes]
    counts: "Counter[bytes]"


def _by_figures(signature: Signature) -> bool:
    """True when figures decide whether a line fits: which figure, not that there is one."""
    words = re.sub(r"\{\d*,?\d*\}", "", f"{signature.any}{signature.pattern}{signature.unless}")
    return re.search(r"\d|\(\?P=", words) is not None


class _Known:
    """What is known of a shape: the signatures that fit all its lines, and those that each line must be tried with."""

    __slots__ = ("fits", "left", "missed", "tried")

    def __init__(self) -> None:
        self.fits: list[int] = []
        #: A signature by whose figures each line is judged -> its words, one of which the line holds.
        self.tried: _Words = {}
        self.left: dict[int, int] = {}
        self.missed: set[int] = set()

    def try_with(self, number: int, words: list[bytes]) -> None:
        """Note a signature that the lines must be tried with."""
        self.tried[number], self.left[number] = words, _MAX_TRIES

    def told(self, number: int, fits: bool) -> None:
        """Note what a signature said of a line. After so many it is known for all."""
        self.left[number] -= 1
        if not fits:
            self.missed.add(number)
        if not self.left[number]:
            del self.tried[number]
            if number not in self.missed:
                self.fits.append(number)


class SignatureScanner:
    """Collects hits over the chunks of one file after another."""

    def __init__(self) -> None:
        self._table = signatures.table().signature
        self._sieve = Sieve(
            (word, (number, word.encode())) for number, each in enumerate(self._table) for word in each.any
        )
        self._figures = [_by_figures(each) for each in self._table]
        self._hits: dict[tuple[int, str], Hit] = {}
        self._harmless: set[bytes] = set()
        self._telling: dict[bytes, _Known] = {}
        self._many_ids = False

    def feed(self, chunk: Chunk, file: str) -> Fresh:
        """Take the next chunk of a file, in its order; return what it says that no chunk said before."""
        if len(self._harmless) + len(self._telling) > _MAX_SHAPES:
            self._harmless.clear()
            self._telling.clear()
        data = without_ids(chunk.data) if self._many_ids else chunk.data
        shapes = shapes_of(data)
        counts = Counter(shapes)
        new = [shape for shape in counts if shape not in self._harmless and shape not in self._telling]
        if not self._many_ids and len(new) * _LINES_PER_NEW_SHAPE > len(shapes) and has_many_ids(chunk.data):
            self._many_ids = True
            return self.feed(chunk, file)
        text = b"\n".join(shape for shape in new if not is_dump(shape)) + b"\n"
        words = words_of(text)
        quoted = {shape for word in _QUOTED for shape in lines_with(text, word)}
        candidates: dict[bytes, _Words] = {}
        for literal, owners in self._sieve.search(text, words):
            for shape in lines_with(text, literal):
                if shape not in quoted:
                    held = candidates.setdefault(shape, {})
                    for number, word in owners:
                        held.setdefault(number, []).append(word)
        told = self._telling.keys() & counts.keys()
        self._count(told, counts, file)
        again = self._worth_trying(data, told)
        if candidates or again:
            self._judge(chunk, file, shapes, candidates, again)
        self._harmless.update(shape for shape in new if len(shape) <= _MAX_SHAPE_BYTES and shape not in self._telling)
        return Fresh(text, words, shapes, counts)

    def _count(self, told: set[bytes], counts: "Counter[bytes]", file: str) -> None:
        """Count the lines of known shapes for the signatures that fit them all."""
        for shape in told:
            for number in self._telling[shape].fits:
                old = self._hits[number, file]
                self._hits[number, file] = old._replace(lines=old.lines + counts[shape])

    def _judge(
        self, chunk: Chunk, file: str, shapes: list[bytes], new: dict[bytes, _Words], again: dict[bytes, _Known]
    ) -> None:
        """Judge the new shapes with a signature's word, and the lines of those in which figures decide."""
        places: dict[bytes, list[int]] = {shape: [] for shape in (*new, *again)}
        for place, shape in enumerate(shapes):
            if shape in places:
                places[shape].append(place)
        lines = chunk.data.split(b"\n")
        for shape, held in new.items():
            known = self._once(shape, held, chunk, lines, places[shape], file)
            if known.tried:
                again[shape] = known
        for shape, known in again.items():
            for place in places[shape]:
                self._try(known, chunk, lines, place, file)

    def _worth_trying(self, data: bytes, told: set[bytes]) -> dict[bytes, _Known]:
        """Return the known shapes of which a line may hold the word of a signature in which figures decide."""
        tried = {shape: known.tried.values() for shape in told if (known := self._telling[shape]).tried}
        lower = data.lower() if tried else b""
        held = {word for word in {word for all_ in tried.values() for each in all_ for word in each} if word in lower}
        return {shape: self._telling[shape] for shape, all_ in tried.items() if any(map(held.intersection, all_))}

    def _once(
        self, shape: bytes, held: _Words, chunk: Chunk, lines: list[bytes], places: list[int], file: str
    ) -> _Known:
        """Judge a new shape where figures do not matter; note the signatures to which they do."""
        known = _Known()
        for number in sorted(held):
            if self._figures[number]:
                known.try_with(number, held[number])
                continue
            values = self._values(number, lines[places[0]])
            if values is not None and self._found(number, chunk, lines, places[0], file, values, len(places)):
                known.fits.append(number)
        if (known.fits or known.tried) and len(shape) <= _MAX_SHAPE_BYTES:
            self._telling[shape] = known
        return known

    def _try(self, known: _Known, chunk: Chunk, lines: list[bytes], place: int, file: str) -> None:
        """Judge a line by its figures."""
        lower = lines[place][:MAX_LINE_CHARS].lower()
        for number in [number for number, words in known.tried.items() if any(word in lower for word in words)]:
            values = self._values(number, lines[place])
            known.told(number, values is not None and self._found(number, chunk, lines, place, file, values, 1))

    def _values(self, number: int, line: bytes) -> dict[str, str] | None:
        return self._table[number].values(line[:MAX_LINE_CHARS].decode("utf-8", "replace"))

    def _found(
        self, number: int, chunk: Chunk, lines: list[bytes], place: int, file: str, values: dict[str, str], count: int
    ) -> bool:
        """Note a line that fits; False when there are too many kinds already."""
        old = self._hits.get((number, file))
        if old is None and len(self._hits) >= _MAX_MATCHES:
            return False
        if old is not None:
            self._hits[number, file] = old._replace(lines=old.lines + count)
            return True
        text = lines[place][:MAX_LINE_CHARS].decode("utf-8", "replace")
        shown = " ".join(text.split())[:_TEXT_CHARS]
        self._hits[number, file] = Hit(self._table[number], file, chunk.line + place, shown, values, count)
        return True

    def forget(self) -> None:
        """Forget which lines were seen: another file begins."""
        self._harmless.clear()
        self._telling.clear()
        self._many_ids = False

    def one_line(self, text: str, line: int, file: str) -> None:
        """Take one line that stood inside something else: a value of a note."""
        self.forget()
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
