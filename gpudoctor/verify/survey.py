"""From paths to facts: find, read, and what follows from both."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion

from gpudoctor.facts.files import CheckedFile, Files, WheelFolder
from gpudoctor.verify.find import find
from gpudoctor.verify.jobs import Job, Plan, shown
from gpudoctor.verify.manifest import NAME
from gpudoctor.verify.requirements import Wanted
from gpudoctor.verify.run import Reading, size_of
from gpudoctor.verify.wheelhouse import Installer, judge_folder

__all__ = ["Survey"]


@dataclass
class Survey:
    """One run: the paths that were named, and what was found out about them."""

    paths: Sequence[str]
    plan: Plan = field(default_factory=Plan)
    wheel_folders: list[WheelFolder] = field(default_factory=list)

    def find(self) -> None:
        """Walk the paths; raises what `find` raises."""
        for path in self.paths:
            find(self.plan, path)

    def expect(self, wanted: Sequence[Wanted]) -> None:
        """Let wheels have one of the digests that a requirements file names."""
        for folder, names in self.plan.wheel_folders.items():
            for name in names:
                for each in wanted:
                    if each.hashes and _meets(name, each):
                        job = self.plan.job(os.path.join(folder, name))
                        job.allowed, job.allowed_by = frozenset(each.hashes), each.place

    def judge_wheels(self, system: Installer, wanted: Sequence[Wanted] | None) -> None:
        """Look for what the folders of wheels lack."""
        for folder, names in sorted(self.plan.wheel_folders.items()):
            self.wheel_folders.append(judge_folder(folder, names, system, wanted))

    def reading(self, known: Mapping[str, CheckedFile], *, hash_all: bool = False) -> Reading:
        """Return what reads every file that was found, with the SHA-256 of each for a list that is to be written."""
        return Reading(self.plan.jobs.values(), known, frozenset({"sha256"} if hash_all else ()))

    @property
    def total_bytes(self) -> int:
        """Bytes of all files that may be read."""
        return sum(size_of(path) for path in self.plan.jobs)

    def files(self, found: Sequence[CheckedFile], *, interrupted: bool, recorded: bool) -> Files:
        """Put everything together.

        Args:
            found: What was read.
            interrupted: Files that were not read are named.
            recorded: Files without a checksum get one now.
        """
        read = {each.path for each in found}
        left = [_left(job) for job in self.plan.jobs.values() if shown(job.path) not in read]
        unlisted: dict[str, int] = {}
        kept = []
        for each in found:
            if each.outcome == "no-checksum" and recorded:
                kept.append(msgspec.structs.replace(each, outcome="recorded"))
            elif each.outcome == "no-checksum" and each.problem == "small":
                root = self._root(each.path)
                unlisted[root] = unlisted.get(root, 0) + 1
            else:
                kept.append(each)
        missing: set[str] = set()
        everything = []
        for each in sorted((*kept, *left, *self.plan.notes), key=lambda each: each.path):
            # Index, other shards and a list may each miss the same file.
            if each.outcome != "missing" or each.path not in missing:
                everything.append(each)
            missing |= {each.path} if each.outcome == "missing" else set()
        return Files(files=tuple(everything), wheel_folders=tuple(self.wheel_folders), unlisted=unlisted,
                     interrupted=interrupted)  # fmt: skip

    def _root(self, path: str) -> str:
        return next((p for p in map(shown, self.paths) if path.startswith(p)), shown(self.paths[0]))

    def inside(self, folder: str) -> list[Job]:
        """The files below a folder that a list of it names: no links, no older list."""
        top = os.path.normpath(folder)
        start = top.rstrip("/") + "/"
        return [
            job
            for path, job in self.plan.jobs.items()
            if (path.startswith(start) or (top == "." and not path.startswith(("/", "../"))))
            and not os.path.islink(path)
            and os.path.relpath(path, top) != NAME
        ]


def _left(job: Job) -> CheckedFile:
    return CheckedFile(path=shown(job.path), outcome="not-read", kind=job.kind, model=job.model)


def _meets(name: str, wanted: Wanted) -> bool:
    try:
        project, version = parse_wheel_filename(name)[:2] if name.endswith(".whl") else parse_sdist_filename(name)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return False
    requirement = wanted.requirement
    return canonicalize_name(requirement.name) == project and requirement.specifier.contains(version, prereleases=True)
