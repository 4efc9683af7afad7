"""Everything that was pasted, file after file, to one Snapshot."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from gpudoctor.evidence import context as contexts
from gpudoctor.evidence.assemble import sections
from gpudoctor.evidence.blocks import Blocks
from gpudoctor.evidence.kernel_log import KernelLogReader
from gpudoctor.evidence.kinds import KINDS
from gpudoctor.evidence.merge import joined, pasted
from gpudoctor.evidence.signatures import Hit, Sieve, SignatureScanner, established, words_of
from gpudoctor.evidence.source import BadInput, Chunk, chunks
from gpudoctor.evidence.statements import Statements
from gpudoctor.facts.base import Section, Unavailable
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.signatures import NOT_PASTED, LogMatch, Piece, Signatures
from gpudoctor.facts.snapshot import MAX_FILE_BYTES, Snapshot, SnapshotError, decode, section_types
from gpudoctor.probes.without_secrets import plain_text

#: So much of each file is read line by line; beyond it only chunks with a word of STRUCTURE.
_HEAD_BYTES = 1 << 21
STRUCTURE = (
    "nvidia-smi", "nvidia driver version", "pytorch version", "cuda used to build", "gpu models and configuration",
    "driver version:", "package    ", "cgroup driver", "[pip3]", *(word for kind in KINDS for word in kind.words),
)  # fmt: skip
_KERNEL = (
    "nvrm", "xid", "oom-kill", "killed process", "amdgpu", "pcie bus error", "aer:", "kernel:", "nvidia-nvlink",
    "rminitadapter", "io_page_fault",
)  # fmt: skip
_MAX_LINE = 1000
#: A message of the driver goes on over so many lines.
_JOINED_LINES = 4
_NOTE_OF_KERNEL = re.compile(r"NVRM|Xid|RmInitAdapter|Killed process|amdgpu")
_JSON_START = (b"{", b"[")


class Paste:
    """Reads files one after another; ``snapshot`` puts together what they said."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self._scanner = SignatureScanner()
        self._stated = Statements()
        self._blocks = Blocks(KINDS)
        self._kernel = KernelLogReader()
        self._kernel_seen: str | None = None
        self._context: set[str] = set()
        self._base: Snapshot | None = None
        self._about = _sieve([(word, name) for name, words in contexts.WORDS.items() for word in words])
        self._names = list(contexts.WORDS)
        self._structure = Sieve({word.encode(): [0] for word in STRUCTURE})
        self._kernel_words = Sieve({word.encode(): [0] for word in _KERNEL})

    def read(self, path: str) -> None:
        """Read a file, or standard input for ``-``. What is wrong with it becomes a piece with a problem."""
        try:
            if path == "-":
                self.feed(sys.stdin.buffer, "stdin")
                return
            place = Path(path)
            if place.is_dir():
                self.problem(path, "is a folder: name the files in it")
                return
            with place.open("rb") as file:
                self.feed(file, place.name)
        except OSError as error:
            self.problem(path, error.strerror or str(error))

    def feed(self, file: BinaryIO, name: str) -> None:
        """Read an open file to its end."""
        taken = 0
        try:
            for chunk in chunks(file):
                if taken == 0 and chunk.data[:1] in _JSON_START and self._own_document(chunk, file, name):
                    return
                self._take(chunk, name, taken)
                taken += len(chunk.data)
        except BadInput as error:
            self.problem(name, str(error))
        self._blocks.end(name)
        if taken:
            self.pieces.append(Piece(file=name, kind="text"))

    def _own_document(self, chunk: Chunk, file: BinaryIO, name: str) -> bool:
        """Take a snapshot of gpudoctor itself; False when this is something else."""
        if b'"gpudoctor.snapshot/' not in chunk.data[:4096]:
            return False
        file.seek(0) if file.seekable() else None
        data = file.read(MAX_FILE_BYTES + 1) if file.seekable() else chunk.data
        try:
            self._base = decode(data, name)
        except SnapshotError as error:
            self.problem(name, str(error).removeprefix(f"{name}: "))
            return True
        self.pieces.append(Piece(file=name, kind="gpudoctor-snapshot"))
        return True

    def _take(self, chunk: Chunk, name: str, taken: int) -> None:
        lower, words = chunk.data.lower(), words_of(chunk.data)
        self._scanner.feed(chunk, lower, words, name)
        for _, owners in self._about.search(lower, words):
            self._context.update(self._names[owner] for owner in owners)
        kernel = [word for word, _ in self._kernel_words.search(lower, words)]
        structure = taken < _HEAD_BYTES or self._blocks.open or any(self._structure.search(lower, words))
        if kernel:
            self._kernel_seen = self._kernel_seen or name
            self._kernel_lines(chunk.data, lower, kernel)
        if not structure:
            return
        for number, raw in enumerate(chunk.data.split(b"\n"), chunk.line):
            line = raw.decode("utf-8", "replace")
            if self._blocks.feed(line, number, name):
                continue
            value = self._stated.feed(line[:_MAX_LINE], number)
            if kernel and value is not None and _NOTE_OF_KERNEL.search(value):
                self._kernel.feed(value)

    def _kernel_lines(self, data: bytes, lower: bytes, words: list[bytes]) -> None:
        """Feed the lines that hold one of the words, each with what may go on with it."""
        pattern = re.compile(b"|".join(map(re.escape, words)))
        done = 0
        for found in pattern.finditer(lower):
            if found.start() < done:
                continue
            start = max(done, lower.rfind(b"\n", 0, found.start()) + 1)
            done = start
            for _ in range(_JOINED_LINES):
                done = lower.find(b"\n", done) + 1 or len(lower)
            for raw in data[start:done].split(b"\n"):
                self._kernel.feed(raw[:_MAX_LINE].decode("utf-8", "replace"))

    def problem(self, name: str, text: str) -> None:
        """Say why something that was named could not be read."""
        self.pieces.append(Piece(file=name, kind="unreadable", problem=text))

    def snapshot(self) -> Snapshot:
        """Return what the paste says as facts; every other section is not in what was pasted."""
        about = frozenset(word for reading in self._blocks.readings for word in reading.context)
        context = about | self._context | contexts.of_statements(self._stated)
        facts: dict[str, object] = {name: NOT_PASTED for name in section_types()}
        if self._base is not None:
            facts |= {name: getattr(self._base, name) for name in facts}
        for told in (*(reading.sections for reading in self._blocks.readings), sections(self._stated, context)):
            for name, section in told.items():
                known = facts[name]
                if isinstance(known, Unavailable):
                    facts[name] = pasted(section)
                elif isinstance(known, Section) and self._base is None:
                    facts[name] = joined(known, pasted(section))
        events = self._kernel.events()
        if events and self._kernel_seen is not None:
            facts["kernel_log"] = KernelLog(
                source=self._kernel_seen, from_boot=False, boots=self._kernel.boots, events=events
            )
        for event in events:
            # The driver's own message names both versions, over two lines.
            if event.kind == "api-mismatch":
                self._scanner.one_line(event.text, 1, "kernel log")
        if "fabric state" in self._stated.told:
            # Its name and its value stand on two lines of nvidia-smi -q.
            self._scanner.one_line(f"fabric state: {self._stated.told['fabric state']}", 1, "nvidia-smi -q")
        hits = [hit for hit in established(self._scanner.hits(), context) if not self._in_own_report(hit)]
        facts["signatures"] = Signatures(
            pieces=tuple(self._all_pieces()),
            matches=tuple(_match(hit) for hit in hits),
            stated=dict(sorted(self._stated.told.items())),
            context=tuple(sorted(context)),
            reported=tuple(each for reading in self._blocks.readings for each in reading.reported)[:4096],
        )
        recorded = self._base.recorded if self._base is not None else None
        return msgspec.structs.replace(Snapshot(recorded=recorded), **facts)

    def _in_own_report(self, hit: Hit) -> bool:
        return any(file == hit.file and first <= hit.line <= last for file, first, last in self._blocks.own)

    def _all_pieces(self) -> Iterable[Piece]:
        yield from self.pieces[:400]
        yield from self._blocks.pieces
        for kind, line in self._stated.kinds.items():
            yield Piece(file="paste", kind=kind, line=line)


def _sieve(pairs: list[tuple[str, str]]) -> Sieve:
    names = list(contexts.WORDS)
    return Sieve({word.encode(): [names.index(name)] for word, name in pairs})


def _match(hit: Hit) -> LogMatch:
    values = dict(hit.values)
    found = values.get("found", "")
    if found.isdigit():
        # cuDriverGetVersion's number: 12040 is 12.4.
        values["found_cuda"] = f"{int(found) // 1000}.{int(found) % 1000 // 10}"
    return LogMatch(
        signature=hit.signature.key, check=hit.signature.check, text=plain_text(hit.text), file=hit.file, line=hit.line,
        count=hit.lines, values=values,
    )  # fmt: skip
