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


#: A row of a hex dump and one of Base64, figures left out: `nvidia-bug-report.sh` writes megabytes of both.
_DUMP = re.compile(rb"[a-f]{0,16}:((?:[ \t]{1,2}[a-f]{0,8}){8,})(?:[ \t|].{0,80})?")
_BASE64 = re.compile(rb"[a-z+/=]{40,100}")
_LEAST_HEX_LETTERS = 6


def is_dump(shape: bytes) -> bool:
    """Tell whether a line holds data and no message."""
    if _BASE64.fullmatch(shape):
        return True
    found = _DUMP.fullmatch(shape)
    return found is not None and len(found[1].translate(None, b" \t")) >= _LEAST_HEX_LETTERS


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
        #: A word as it is in shapes -> the words as they are in lines.
        self.written: dict[bytes, list[bytes]] = {}
        for word, owner in literals:
            literal = word.encode().translate(None, _DIGITS)
            owners.setdefault(literal, []).append(owner)
            self.written.setdefault(literal, []).append(word.encode())
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


def _by_figures(signature: Signature) -> bool:
    """True when figures decide whether a line fits: which figure, not that there is one."""
    words = re.sub(r"\{\d*,?\d*\}", "", f"{signature.any}{signature.pattern}{signature.unless}")
    return re.search(r"\d|\(\?P=", words) is not None


class _Known:
    """What is known of a shape: the signatures that fit all its lines, and those that each line must be tried with."""

    __slots__ = ("fits", "left", "tried", "words")

    def __init__(self) -> None:
        self.fits: list[int] = []
        self.tried: list[int] = []
        #: A line is tried where the chunk holds one of these, until so many were tried.
        self.words: set[bytes] = set()
        self.left = _MAX_TRIES


class SignatureScanner:
    """Collects hits over the chunks of one file after another."""

    def __init__(self) -> None:
        self._table = signatures.table().signature
        self._sieve = Sieve((word, number) for number, each in enumerate(self._table) for word in each.any)
        self._any = [tuple(word.encode() for word in each.any) for each in self._table]
        self._figures = [_by_figures(each) for each in self._table]
        self._hits: dict[tuple[int, str], Hit] = {}
        self._harmless: set[bytes] = set()
        self._telling: dict[bytes, _Known] = {}

    def feed(self, chunk: Chunk, file: str) -> Fresh:
        """Take the next chunk of a file, in its order; return what it says that no chunk said before."""
        if len(self._harmless) + len(self._telling) > _MAX_SHAPES:
            self.forget()
        shapes = chunk.data.translate(_LOWER, _DIGITS).split(b"\n")
        counts = Counter(shapes)
        new = [shape for shape in counts if shape not in self._harmless and shape not in self._telling]
        text = b"\n".join(shape for shape in new if not is_dump(shape)) + b"\n"
        words = words_of(text)
        candidates: dict[bytes, _Known] = {}
        for literal, owners in self._sieve.search(text, words):
            for shape in lines_with(text, literal):
                known = candidates.setdefault(shape, _Known())
                known.words.update(self._sieve.written[literal])
                known.tried += owners
        told = self._telling.keys() & counts.keys()
        if candidates or told:
            self._judge(chunk, file, shapes, counts, candidates, told)
        self._harmless.update(shape for shape in new if len(shape) <= _MAX_SHAPE_BYTES and shape not in self._telling)
        return Fresh(text, words, counts)

    def _judge(
        self, chunk: Chunk, file: str, shapes: list[bytes], counts: "Counter[bytes]", new: dict[bytes, _Known],
        told: set[bytes],
    ) -> None:  # fmt: skip
        lower = chunk.data.lower()
        held: dict[bytes, bool] = {}

        def holds(word: bytes) -> bool:
            if word not in held:
                held[word] = word in lower
            return held[word]

        open_shapes = dict(new)
        for shape in told:
            known = self._telling[shape]
            for number in known.fits:
                old = self._hits[number, file]
                self._hits[number, file] = old._replace(lines=old.lines + counts[shape])
            if known.tried and known.left and any(map(holds, known.words)):
                open_shapes[shape] = known
        if not open_shapes:
            return
        places: dict[bytes, list[int]] = {}
        for place, shape in enumerate(shapes):
            if shape in open_shapes:
                places.setdefault(shape, []).append(place)
        lines = chunk.data.split(b"\n")
        for shape, known in open_shapes.items():
            if shape in new and not self._once(known, shape, chunk, lines, places[shape], file):
                continue
            for place in places[shape][: known.left]:
                self._try(known, chunk, lines, place, file)
            known.left = max(0, known.left - len(places[shape]))

    def _once(
        self, known: _Known, shape: bytes, chunk: Chunk, lines: list[bytes], places: list[int], file: str
    ) -> bool:
        """Judge a new shape where figures do not matter; True when they do to some signature."""
        numbers = sorted(set(known.tried))
        known.tried = [number for number in numbers if self._figures[number]]
        if any(word in shape for word in _QUOTED):
            return False
        for number in numbers:
            values = None if self._figures[number] else self._values(number, lines[places[0]])
            if values is not None and self._found(number, chunk, lines, places[0], file, values, len(places)):
                known.fits.append(number)
        if (known.fits or known.tried) and len(shape) <= _MAX_SHAPE_BYTES:
            self._telling[shape] = known
        return bool(known.tried)

    def _try(self, known: _Known, chunk: Chunk, lines: list[bytes], place: int, file: str) -> None:
        lower = lines[place][:MAX_LINE_CHARS].lower()
        for number in known.tried:
            if any(word in lower for word in self._any[number]):
                values = self._values(number, lines[place])
                if values is not None:
                    self._found(number, chunk, lines, place, file, values, 1)

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
