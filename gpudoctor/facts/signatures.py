"""What pasted text says by itself: lines of engines and tools whose meaning is known. Only ``diagnose`` fills it."""

from typing import Annotated, Literal

from msgspec import Meta

from gpudoctor.facts.base import Item, Section, Unavailable

#: What diagnose says of every section that the paste is silent on.
NOT_PASTED = Unavailable("not in what you pasted", "not-asked")
#: The subject of findings on the Python environment that a report describes.
PASTED_ENVIRONMENT = "env:the paste"
#: Before the kind of a complaint, among what a paste states; the value is the sentence.
COMPLAINT = "complaint: "
#: Stands for the address of an Ollama whose lists were pasted; they do not tell it.
PASTED_OLLAMA = "ollama"


class Piece(Item, frozen=True, kw_only=True):
    """One recognised part of a paste. ``kind`` is ``collect-env``, ``nvidia-smi``, ``kernel-log``, ``vllm-log``, ...

    ``problem`` is why it could not be read, or not to its end. ``lines`` is how many lines
    the file of a recognised log has.
    """

    file: str
    kind: str
    line: int = 1
    problem: str | None = None
    lines: int | None = None


class Reported(Item, frozen=True, kw_only=True):
    """A finding of a report of gpudoctor that was pasted. ``seen`` is its evidence, ``fix`` its steps, in words."""

    id: str
    status: Literal["fail", "warn", "unknown", "info"]
    subject: str
    message: str
    seen: Annotated[tuple[tuple[str, str, str], ...], Meta(max_length=64)] = ()
    fix: Annotated[tuple[tuple[str, str | None, str | None], ...], Meta(max_length=64)] = ()


class Diagnostic(Item, frozen=True, kw_only=True):
    """One result of NVIDIA's diagnostic (``dcgmi diag``); ``gpu`` None: of all GPUs, or of the machine."""

    name: str
    status: Literal["pass", "fail", "warn", "skip"]
    gpu: int | None = None
    words: Annotated[tuple[str, ...], Meta(max_length=64)] = ()


class LogMatch(Item, frozen=True, kw_only=True):
    """One kind of line that proves something.

    ``signature`` is its key in the table. ``line`` counts from 1 and is that of the first of ``count`` lines; ``text``
    is that line, cut. ``values`` are the figures in it.
    """

    signature: str
    check: str
    text: str
    file: str
    line: int
    count: int = 1
    values: dict[str, str] = {}


class Signatures(Section, frozen=True, kw_only=True):
    """Matches, most telling first, and what the paste states that no other section holds.

    ``stated`` holds only known keys (``tensor parallel``, ``cgroup driver``). ``context`` names what the paste is
    about: ``wsl``, ``container``, ``engine:ollama``. ``reported`` is what a pasted report of gpudoctor says.
    """

    pieces: Annotated[tuple[Piece, ...], Meta(max_length=1024)] = ()
    matches: Annotated[tuple[LogMatch, ...], Meta(max_length=1024)] = ()
    stated: dict[str, str] = {}
    context: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    reported: Annotated[tuple[Reported, ...], Meta(max_length=4096)] = ()
    diagnostics: Annotated[tuple[Diagnostic, ...], Meta(max_length=4096)] = ()

    def of(self, check: str) -> tuple[LogMatch, ...]:
        """The matches that prove this check's problem."""
        return tuple(each for each in self.matches if each.check == check)
