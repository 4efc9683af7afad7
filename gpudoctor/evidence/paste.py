"""Everything that was pasted, file after file, to one Snapshot."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from gpudoctor.evidence import context as contexts
from gpudoctor.evidence import json_documents
from gpudoctor.evidence.assemble import sections
from gpudoctor.evidence.blocks import Blocks
from gpudoctor.evidence.bug_report import Section as Place
from gpudoctor.evidence.bug_report import Sections
from gpudoctor.evidence.complaints import Complaints
from gpudoctor.evidence.engine_load import EngineLoad
from gpudoctor.evidence.kernel_logs import KernelLogs
from gpudoctor.evidence.kinds import KINDS
from gpudoctor.evidence.line_prefix import unwrapped, without_prefix
from gpudoctor.evidence.log_kinds import LOGS
from gpudoctor.evidence.merge import joined, pasted
from gpudoctor.evidence.ollama_lists import completed
from gpudoctor.evidence.shapes import Sieve, lines_with
from gpudoctor.evidence.signatures import Fresh, Hit, SignatureScanner, established
from gpudoctor.evidence.source import BadInput, Chunk, chunks
from gpudoctor.evidence.stated_conflicts import conflicts
from gpudoctor.evidence.statements import Statements, version_in
from gpudoctor.facts.base import Section, Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.serving import Serving
from gpudoctor.facts.signatures import NOT_PASTED, LogMatch, Piece, Signatures
from gpudoctor.facts.snapshot import MAX_FILE_BYTES, Snapshot, SnapshotError, decode, section_types
from gpudoctor.probes.without_secrets import plain_text

#: So much of each file is read line by line; beyond it only chunks with a word of STRUCTURE.
_HEAD_BYTES = 1 << 21
STRUCTURE = (
    "nvidia-smi", "nvidia driver version", "pytorch version", "cuda used to build", "gpu models and configuration",
    "driver version:", "package    ", "cgroup driver", "[pip3]", "llm engine (v", "server_args=serverargs",
    "vllm serve", *(word for kind in KINDS for word in kind.words),
)  # fmt: skip
_KERNEL = (
    "nvrm", "xid", "oom-kill", "killed process", "amdgpu", "pcie bus error", "aer:", "kernel:", "nvidia-nvlink",
    "rminitadapter", "io_page_fault",
)  # fmt: skip
_KERNEL_WORD = re.compile(b"|".join(re.escape(word.encode()) for word in _KERNEL), re.IGNORECASE)
_MAX_LINE = 1000
#: No more lines of one shape and one chunk are read for facts: 32 GPUs in nvidia-smi -q have not so many.
_MAX_ALIKE = 300
#: A message of the driver goes on over so many lines.
_JOINED_LINES = 4
_NOTE_OF_KERNEL = re.compile(r"NVRM|Xid|RmInitAdapter|Killed process|amdgpu")
#: A line of a log, whose time of day looks like a note's key; the reader of kernel logs has it whole.
_TIMED = re.compile(r"\s*(?:[<\[]|\d{4}-|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s)")
_JSON_START = (b"{", b"[")


class Paste:
    """Reads files one after another; ``snapshot`` puts together what they said."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self._scanner = SignatureScanner()
        self._stated = Statements()
        self._blocks = Blocks(KINDS)
        self._kernel = KernelLogs()
        self._sections = Sections()
        self._complaints = Complaints()
        self._load = EngineLoad()
        #: Files, with their sections, that tell of other times.
        self._past: dict[str, Place] = {}
        self._place = Place()
        self._context: set[str] = set()
        self._base: Snapshot | None = None
        self._names = (*contexts.WORDS, *LOGS)
        about = [*contexts.WORDS.values(), *LOGS.values()]
        self._about = Sieve((word, number) for number, words in enumerate(about) for word in words)
        self._about_words = [tuple(word.encode() for word in words) for words in about]
        self._structure = Sieve((word, 0) for word in STRUCTURE)
        self._kernel_words = Sieve((word, 0) for word in _KERNEL)
        #: Shapes of lines of the kernel: of those every single one counts.
        self._kernel_shapes: set[bytes] = set()
        self._logs: dict[str, int] = {}

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
        taken = lines = 0
        self._begin()
        try:
            for chunk in chunks(file):
                if taken == 0 and chunk.data[:1] in _JSON_START and self._own_document(chunk, file, name):
                    return
                for place, part in self._sections.parts(unwrapped(chunk)):
                    self._take(part, name, place, taken)
                taken += len(chunk.data)
                lines = chunk.line + chunk.data.count(b"\n") - 1
        except BadInput as error:
            self.problem(name, str(error))
        self._blocks.end(name + self._place.place)
        self._place = Place()
        if taken:
            self.pieces.append(Piece(file=name, kind="nvidia-bug-report" if self._sections.found else "text"))
        self.pieces += [Piece(file=name, kind=kind, line=line, lines=lines) for kind, line in self._logs.items()]

    def document(self, text: str, name: str) -> None:
        """Read one JSON document of a tool, whose words are no log."""
        self._blocks.whole(json_documents.KIND, text.strip(), name)
        self.pieces.append(Piece(file=name, kind="text"))

    def _begin(self) -> None:
        """Forget which lines were seen: another file begins."""
        self._scanner.forget()
        self._kernel_shapes.clear()
        self._sections = Sections()
        self._logs = {}

    def _own_document(self, chunk: Chunk, file: BinaryIO, name: str) -> bool:
        """Take a snapshot or report of gpudoctor itself as a whole; False when this is something else."""
        report = b'"gpudoctor.report/' in chunk.data[:4096]
        if not report and b'"gpudoctor.snapshot/' not in chunk.data[:4096]:
            return False
        place = file.tell() if file.seekable() else 0
        file.seek(0) if file.seekable() else None
        data = file.read(MAX_FILE_BYTES + 1) if file.seekable() else chunk.data
        if report:
            if not json_documents.is_one(data):
                # Something follows it, or it breaks off: the readers of documents find its end.
                file.seek(place) if file.seekable() else None
                return False
            self.document(data.decode("utf-8", "replace"), name)
            return True
        try:
            self._base = decode(data, name)
        except SnapshotError as error:
            self.problem(name, str(error).removeprefix(f"{name}: "))
            return True
        self.pieces.append(Piece(file=name, kind="gpudoctor-snapshot"))
        return True

    def _take(self, chunk: Chunk, name: str, place: Place, taken: int) -> None:
        if place.dump:
            return
        file = name + place.place
        if place != self._place:
            self._blocks.end(name + self._place.place)
            self._scanner.forget()
            self._place = place
        if place.past:
            self._past[file] = place
        fresh = self._scanner.feed(chunk, file)
        self._learn(fresh, chunk)
        for word, _ in self._kernel_words.search(fresh.text, fresh.words):
            self._kernel_shapes.update(lines_with(fresh.text, word))
        kernel = place.kernel and not self._kernel_shapes.isdisjoint(fresh.counts)
        told_more = any(self._structure.search(fresh.text, fresh.words))
        if kernel:
            self._kernel_lines(chunk.data, place, file)
        if not place.facts or not (taken < _HEAD_BYTES or self._blocks.open or told_more or place.name):
            return
        many = {shape: 0 for shape, count in fresh.counts.items() if count > _MAX_ALIKE}
        for number, (raw, shape) in enumerate(zip(chunk.data.split(b"\n"), fresh.shapes, strict=True), chunk.line):
            if shape in many and not self._blocks.open:
                many[shape] += 1
                if many[shape] > _MAX_ALIKE:
                    continue
            whole = raw.decode("utf-8", "replace")
            line = without_prefix(whole)
            if (place.name and not place.tells(line)) or self._blocks.feed(line, number, file):
                continue
            self._stated.start(line)
            self._load.feed(line)
            self._complaints.feed(whole)
            value = self._stated.feed(line[:_MAX_LINE], number)
            if kernel and value is not None and _NOTE_OF_KERNEL.search(value) and not _TIMED.match(whole):
                self._kernel.reader(place, file).feed(value)

    def _learn(self, fresh: Fresh, chunk: Chunk) -> None:
        """Learn what the paste is about, and whose log it is."""
        lower = None
        for _, owners in self._about.search(fresh.text, fresh.words):
            for owner in owners:
                name = self._names[owner]
                if name in self._context or name in self._logs:
                    continue
                lower = chunk.data.lower() if lower is None else lower
                if not any(word in lower for word in self._about_words[owner]):
                    continue
                if name in LOGS:
                    self._logs[name] = chunk.line
                else:
                    self._context.add(name)

    def _kernel_lines(self, data: bytes, place: Place, file: str) -> None:
        """Feed the lines that hold a word of the kernel, each with what may go on with it."""
        reader = self._kernel.reader(place, file)
        left = 0
        for raw in data.split(b"\n"):
            if _KERNEL_WORD.search(raw):
                left = _JOINED_LINES
            if left:
                left -= 1
                reader.feed(raw[:_MAX_LINE].decode("utf-8", "replace"))

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
        if isinstance(served := facts["serving"], Serving):
            facts["serving"] = completed(served, facts["gpus"], version_in(self._stated.told.get("ollama", "")))
        kernel = self._kernel.log()
        if kernel is not None:
            facts["kernel_log"] = kernel
        for event in kernel.of("api-mismatch") if kernel is not None else ():
            # The driver's own message names both versions, over two lines.
            self._scanner.one_line(event.text, 1, "kernel log")
        if "fabric state" in self._stated.told:
            # Its name and its value stand on two lines of nvidia-smi -q.
            self._scanner.one_line(f"fabric state: {self._stated.told['fabric state']}", 1, "nvidia-smi -q")
        for line in conflicts(self._stated):
            self._scanner.one_line(line, 1, "what is stated")
        loaded = _driver_runs(facts["gpus"], facts["driver"])
        hits = [hit for hit in self._scanner.hits() if not self._of_other_times(hit, loaded)]
        hits = [hit for hit in established(hits, context) if not self._in_own_report(hit)]
        facts["signatures"] = Signatures(
            pieces=tuple(self._all_pieces()),
            matches=tuple(_match(hit) for hit in hits),
            stated=dict(sorted({**self._stated.told, **self._complaints.told(), **self._load.told()}.items())),
            context=tuple(sorted(context)),
            diagnostics=tuple(each for reading in self._blocks.readings for each in reading.diagnostics)[:4096],
            reported=tuple(each for reading in self._blocks.readings for each in reading.reported)[:4096],
        )
        recorded = self._base.recorded if self._base is not None else None
        return msgspec.structs.replace(Snapshot(recorded=recorded), **facts)

    def _of_other_times(self, hit: Hit, loaded: bool) -> bool:
        """Where the driver works now, what its installation once said is no trouble; an earlier boot's never is."""
        place = self._past.get(hit.file)
        return place is not None and (loaded or not place.installation)

    def _in_own_report(self, hit: Hit) -> bool:
        return any(file == hit.file and first <= hit.line <= last for file, first, last in self._blocks.own)

    def _all_pieces(self) -> Iterable[Piece]:
        yield from self.pieces[:400]
        yield from self._blocks.pieces
        for kind, line in self._stated.kinds.items():
            yield Piece(file="paste", kind=kind, line=line)


def _driver_runs(gpus: object, driver: object) -> bool:
    if isinstance(gpus, Gpus) and (gpus.gpus or isinstance(gpus.driver_version, str)):
        return True
    return isinstance(driver, Driver) and isinstance(driver.loaded_version, str)


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
