"""Documents inside a paste: where each begins and ends. One reader per kind turns its lines into facts."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import msgspec

from gpudoctor.facts.base import Section
from gpudoctor.facts.signatures import Diagnostic, Piece, Reported

#: What is longer than this is read no further. nvidia-smi -q -x of 16 GPUs takes 1 MB.
MAX_BLOCK_CHARS = 4 << 20
#: So much is collected in all: what holds more has no documents, or was made to keep us busy.
MAX_CHARS = 32 << 20
MAX_BLOCKS = 512
#: What a line takes in memory beside its characters.
_LINE_COST = 64
_FENCE = re.compile(r"\s{0,8}(?:```|~~~)")
_BRACKET = re.compile(r"[\[\]{}]")
_QUOTE = re.compile(r"(?:\s{0,4}> ?){1,8}")


class Unread(Exception):
    """Why a document that was recognised could not be read, in one line."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a document says. ``name`` is its kind where only its content tells; ``context`` what it is about.

    ``problem`` is why it was not read to its end.
    """

    sections: dict[str, Section] = {}
    name: str | None = None
    context: frozenset[str] = frozenset()
    reported: tuple[Reported, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    problem: str | None = None


def too_deep(text: str, limit: int = 60) -> bool:
    """Tell whether brackets are nested deeper than in any document of a tool."""
    depth = 0
    for found in _BRACKET.finditer(text):
        depth += 1 if found[0] in "[{" else -1
        if depth > limit:
            return True
    return False


class Extent(Protocol):
    """Decides line after line what belongs to a document that has begun."""

    #: The last line that was taken ends it.
    complete: bool

    def takes(self, line: str) -> bool:
        """Return whether this line, the first included, is part of the document."""
        ...


class Kind(NamedTuple):
    """One kind of document.

    ``begins`` must match its first line. ``read`` gets its text, the number of its first line and the file's name; None
    says that it is something else after all. ``alone``: its lines mean nothing to other readers.
    """

    name: str
    begins: str
    extent: Callable[[], Extent]
    read: Callable[[str, int, str], Reading | None]
    alone: bool = False
    #: Words in lower case by which a piece is found far into a large file.
    words: tuple[str, ...] = ()
    #: So many of this kind are read in one paste.
    most: int = 64


class While:
    """A document whose every line has a certain form."""

    complete = False

    def __init__(self, pattern: "re.Pattern[str]") -> None:
        self._pattern = pattern

    def takes(self, line: str) -> bool:
        """Return whether the line has the form."""
        return self._pattern.match(line) is not None


class Until:
    """A document that says itself where it ends; a line of another form breaks it off."""

    def __init__(self, last: "re.Pattern[str]", form: "re.Pattern[str]") -> None:
        self._last, self._form, self.complete = last, form, False

    def takes(self, line: str) -> bool:
        """Take every line of the form up to the last."""
        self.complete = self._last.search(line) is not None
        return self.complete or self._form.match(line) is not None


class Blocks:
    """Finds documents in the lines of one file after another, and reads each as soon as it is whole."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._kinds = tuple(kinds)
        # One pattern tells whether any kind begins here; nearly every line ends with that question.
        self._any = re.compile("|".join(f"(?:{kind.begins})" for kind in self._kinds) or r"(?!)")
        self._begins = [re.compile(kind.begins) for kind in self._kinds]
        self.readings: list[Reading] = []
        self.pieces: list[Piece] = []
        #: Where our own reports stood: file, first and last line. What they quote is no log.
        self.own: list[tuple[str, int, int]] = []
        self._kind: Kind | None = None
        self._extent: Extent | None = None
        self._lines: list[str] = []
        self._chars = self._all_chars = self._first = self._last = 0
        self._read: Counter[str] = Counter()

    @property
    def open(self) -> bool:
        """True inside a document."""
        return self._kind is not None

    def feed(self, line: str, number: int, file: str) -> bool:
        """Take the next line; True when it is nothing to anybody else."""
        quote = _QUOTE.match(line)
        line = line[quote.end() :] if quote is not None else line
        if self._kind is not None and self._extent is not None:
            if not _FENCE.match(line) and self._extent.takes(line):
                return self._take(line, number, file, self._kind)
            self.end(file)
        if self._any.match(line) is None or len(self.pieces) >= MAX_BLOCKS or self._all_chars > MAX_CHARS:
            return False
        kind = next((kind for kind, begins in zip(self._kinds, self._begins, strict=True) if begins.match(line)), None)
        if kind is None or self._read[kind.name] >= kind.most:
            return False
        self._kind, self._extent, self._lines, self._chars, self._first = kind, kind.extent(), [], 0, number
        return self._extent.takes(line) and self._take(line, number, file, kind)

    def _take(self, line: str, number: int, file: str, kind: Kind) -> bool:
        self._chars += len(line) + _LINE_COST
        self._all_chars += len(line) + _LINE_COST
        self._lines.append(line)
        self._last = number
        if self._chars > MAX_BLOCK_CHARS or (self._extent is not None and self._extent.complete):
            self.end(file)
        return kind.alone

    def whole(self, kind: Kind, text: str, file: str) -> None:
        """Read a file that is one document."""
        self._kind, self._lines, self._chars, self._first = kind, [text], 0, 1
        self._last = text.count("\n") + 1
        self.end(file)

    def end(self, file: str) -> None:
        """Read what was collected: the file ends here, or something else begins."""
        kind, self._kind, self._extent = self._kind, None, None
        if kind is None:
            return
        text, self._lines = "\n".join(self._lines), []
        problem = None
        reading: Reading | None = None
        if self._chars > MAX_BLOCK_CHARS:
            problem = f"line {self._first}: the {kind.name} is longer than {MAX_BLOCK_CHARS >> 20} MiB and was not read"
        else:
            try:
                reading = kind.read(text, self._first, file)
            except Unread as error:
                problem = f"line {self._first}: {error}"
        if reading is not None:
            problem = reading.problem
            self.readings.append(reading)
            if reading.reported:
                self.own.append((file, self._first, self._last))
        if reading is not None or problem is not None:
            self._read[kind.name] += 1
            name = (reading.name if reading is not None else None) or kind.name
            self.pieces.append(Piece(file=file, kind=name, line=self._first, problem=problem))
