"""What is to be read, and what it should be."""

import os
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from gpudoctor.facts.files import CheckedFile, Outcome, WheelFolder

#: More files than any store of models, wheels and images holds.
MOST_FILES = 1 << 20
_MODEL = re.compile(r"\.(?:safetensors|gguf|ggml|bin|pt|pth|ckpt|onnx|msgpack|h5|npz|engine|llamafile)$", re.IGNORECASE)
_PAYLOAD = re.compile(r"\.(?:whl|tar|tgz|tar\.gz|tar\.zst|tzst|gz|zst|zip|deb|rpm|iso|img|run|pyz)$", re.IGNORECASE)


class Expected(NamedTuple):
    """What a file's contents should be, and who says so."""

    algorithm: str
    digest: str
    by: str


@dataclass
class Job:
    """One file to read. ``size`` is what its length should be. ``inside``: checksums in it that can be compared."""

    path: str
    kind: str = "file"
    model: bool = False
    expected: list[Expected] = field(default_factory=list)
    size: int | None = None
    size_by: str = ""
    inside: str = ""
    named: bool = False
    #: Digests, (algorithm, hex), of which one has to be it, and who says so: requirements name several builds.
    allowed: frozenset[tuple[str, str]] = frozenset()
    allowed_by: str = ""

    def algorithms(self) -> set[str]:
        """The checksums that are wanted of it."""
        return {each.algorithm for each in self.expected} | {name for name, _ in self.allowed}


class TooMany(Exception):
    """The paths hold more files than are looked at."""


@dataclass
class Plan:
    """Everything that was found below the paths of one run."""

    jobs: dict[str, Job] = field(default_factory=dict)
    notes: list[CheckedFile] = field(default_factory=list)
    wheel_folders: dict[str, list[str]] = field(default_factory=dict)
    folders: list[WheelFolder] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)

    def holds(self, path: str) -> bool:
        """True when what a link leads to lies below a path that is read anyway."""
        target = os.path.realpath(path)
        return any(target == root or target.startswith(root.rstrip("/") + "/") for root in self.roots)

    def job(self, path: str, kind: str = "file", *, model: bool = False) -> Job:
        """Return the job of a file; what is known about it from several sides adds up."""
        path = os.path.normpath(path)
        found = self.jobs.get(path)
        if found is None:
            if len(self.jobs) >= MOST_FILES:
                raise TooMany(f"more than {MOST_FILES} files")
            found = self.jobs[path] = Job(path, kind, model or bool(_MODEL.search(path)))
        elif found.kind == "file":
            found.kind = kind
        found.model = found.model or model
        return found

    def note(
        self, path: str, outcome: Outcome, problem: str = "", *, kind: str = "file", model: bool = False, by: str = ""
    ) -> None:
        """Keep what needs no reading to be known."""
        if len(self.notes) >= MOST_FILES:
            raise TooMany(f"more than {MOST_FILES} troubles")
        model = model or bool(_MODEL.search(path))
        found = CheckedFile(path=shown(path), outcome=outcome, problem=problem, kind=kind, model=model, by=by)
        if found not in self.notes[-64:]:
            self.notes.append(found)


def weighty(path: str) -> bool:
    """True for a file that must not pass unseen without a checksum: a model's, an archive, a package."""
    return bool(_MODEL.search(path) or _PAYLOAD.search(path))


def shown(path: str) -> str:
    """Return a path as text; bytes that are no UTF-8 are written out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
