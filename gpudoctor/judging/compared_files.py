"""What comparing files with their checksums says, for models' files and for all others."""

from collections.abc import Iterator

from gpudoctor.checking.finding import Evidence, Finding, Step, failed, passed, saw, step, unknown, warned
from gpudoctor.facts.files import CheckedFile, Files
from gpudoctor.verify.since import BYTES, INODE, MODIFIED

_JUDGED = ("verified", "broken", "missing", "leftover")


def judge_compared(files: Files, *, model: bool) -> Iterator[Finding]:
    """Yield one finding for each file that was compared, or is known to be missing."""
    for file in files.files:
        if file.model == model and file.outcome in _JUDGED:
            yield _judge(file)


def _judge(file: CheckedFile) -> Finding:
    subject = f"file:{file.path}"
    if file.outcome == "verified":
        return passed(subject, "its contents agree with {by}", by=file.by, evidence=_evidence(file))
    if file.outcome == "leftover":
        return warned(
            subject, "an unfinished download lies here", kind=file.kind, evidence=saw("kind", file.kind, file.path),
            fix=step("Fetch the model again where there is a network, and copy it; this file can then go.",
                     "rm {path}", path=file.path),
        )  # fmt: skip
    if file.outcome == "missing":
        return failed(subject, "it is missing: {by} names it", by=file.by or "its place", fix=_again(file),
                      evidence=saw("kind", file.kind, file.path))  # fmt: skip
    if file.expected and not file.problem:
        algorithm = next(iter(file.expected))
        return failed(subject, "its {algorithm} is not what {by} says", algorithm=algorithm, by=file.by,
                      evidence=_evidence(file), fix=_again(file))  # fmt: skip
    return failed(subject, "it is damaged: {problem}", problem=file.problem, fix=_again(file),
                  evidence=_evidence(file) or saw("kind", file.kind, file.path))  # fmt: skip


def _again(file: CheckedFile) -> Step:
    return step("Copy this file again from where it is whole (SOURCE stands for that machine or disk).",
                "rsync -a --checksum SOURCE:{path} {path}", path=file.path)  # fmt: skip


def _evidence(file: CheckedFile) -> tuple[Evidence, ...]:
    """Return what was compared; a later run finds here what it need not read again."""
    seen = [saw(f"expected {name}", digest, file.by) for name, digest in file.expected.items()]
    seen += [saw(name, digest, "a former run" if file.earlier else "its contents")
             for name, digest in file.digests.items()]  # fmt: skip
    for what, value in ((BYTES, file.size_bytes), (MODIFIED, file.modified_ns), (INODE, file.inode)):
        if value is not None:
            # Beyond 2^53 many readers of JSON round numbers.
            seen.append(saw(what, str(value) if what == MODIFIED else value, "stat"))
    return tuple(seen)


def judge_unjudged(file: CheckedFile, *, interrupted: bool) -> Finding | None:
    """Return the finding on a file that could not be compared; None for one that was."""
    subject = f"file:{file.path}"
    if file.outcome == "unreadable":
        return unknown(subject, "it could not be read: {problem}", problem=file.problem,
                       evidence=saw("kind", file.kind, file.path), fix=_READ)  # fmt: skip
    if file.outcome == "refused":
        return unknown(subject, "{by} names it, and it was not looked at: {problem}", by=file.by,
                       problem=file.problem, fix=_REFUSED)  # fmt: skip
    if file.outcome == "not-read" and interrupted:
        return unknown(subject, "it was not read: the run ended before", fix=_RESUME)
    if file.outcome == "no-checksum":
        return unknown(subject, "no checksum of it is known: a changed byte would not be seen",
                       evidence=saw(BYTES, file.size_bytes, "stat"), fix=_RECORD)  # fmt: skip
    return None


_READ = step("Let this user read it, or verify as one who may.")
_REFUSED = step("Make the list anew in the folder itself, with relative names.", "sha256sum * > SHA256SUMS")
_RESUME = step("Go on from the report of this run.", "gpudoctor verify --since-report REPORT.json PATH")
_RECORD = step("Make a list where the file came from, and copy it along.",
               "gpudoctor verify --write-manifest FOLDER")  # fmt: skip
