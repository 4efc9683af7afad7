"""The Hugging Face cache, and downloads into a folder of one's own, with the checksums that lie beside.

Cache: ``models--<owner>--<name>/{blobs,snapshots,refs}``. A blob is named by its ETag: the SHA-256 of a large file, the
name git gives a small one. ``--local-dir`` keeps the same in ``.cache/huggingface/download/<path>.metadata``: commit,
ETag, time.
"""

import os
import re

from gpudoctor.verify.jobs import Expected, Job, Plan

REPOSITORY = re.compile(r"(?:models|datasets|spaces)--.+")
METADATA = os.path.join(".cache", "huggingface", "download")
_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SMALL = 4096


def is_repository(name: str, folders: set[str]) -> bool:
    """True for one repository of a cache."""
    return bool(REPOSITORY.fullmatch(name)) and bool({"blobs", "snapshots"} & folders)


def expect_etag(job: Job, etag: str, by: str) -> None:
    """Let a job compare with an ETag, where that is a checksum."""
    if _ETAG.fullmatch(etag):
        job.expected.append(Expected("sha256" if len(etag) == 64 else "git-sha1", etag, by))


def add_repository(plan: Plan, folder: str) -> list[str]:
    """Add a repository's blobs, references and links; return its snapshots' folders with what they hold."""
    blobs = os.path.join(folder, "blobs")
    for name in _names(plan, blobs):
        path = os.path.join(blobs, name)
        if name.endswith(".incomplete"):
            plan.note(path, "leftover", kind="Hugging Face blob", model=True)
        elif os.path.islink(path) or not os.path.isdir(path):
            expect_etag(plan.job(path, "Hugging Face blob", model=True), name, "its name")
    snapshots = os.path.join(folder, "snapshots")
    _references(plan, os.path.join(folder, "refs"), snapshots, 0)
    return [os.path.join(snapshots, name) for name in _names(plan, snapshots)]


def _names(plan: Plan, folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        plan.note(folder, "unreadable", error.strerror or str(error), kind="Hugging Face cache", model=True)
        return []


def _references(plan: Plan, folder: str, snapshots: str, depth: int) -> None:
    for name in _names(plan, folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            if depth < 4:
                _references(plan, path, snapshots, depth + 1)
            continue
        commit = small_text(path).strip()
        snapshot = os.path.join(snapshots, commit)
        if not _COMMIT.fullmatch(commit):
            plan.note(path, "broken", "it names no commit", kind="Hugging Face reference", model=True)
        elif not os.path.isdir(snapshot):
            plan.note(snapshot, "missing", kind="Hugging Face snapshot", model=True, by=f"refs/{name}")


def linked_blob(folder: str, path: str) -> str | None:
    """Return the blob of this repository that a snapshot's link leads to; None for a link that leads elsewhere."""
    target = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    inside = os.path.normpath(os.path.join(folder, "blobs"))
    return target if os.path.dirname(target) == inside else None


def add_local_metadata(plan: Plan, folder: str) -> None:
    """Add what ``hf download --local-dir`` wrote down about each file of a folder."""
    kept = os.path.join(folder, METADATA)
    for here, folders, names in os.walk(kept):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(here, name)
            if name.endswith(".incomplete"):
                plan.note(path, "leftover", kind="Hugging Face download", model=True)
            elif name.endswith(".metadata"):
                relative = os.path.relpath(path, kept).removesuffix(".metadata")
                lines = small_text(path).split("\n")
                job = plan.job(os.path.join(folder, relative), model=True)
                if len(lines) < 2 or not _ETAG.fullmatch(lines[1].strip()):
                    plan.note(path, "unreadable", "it holds no checksum", kind="Hugging Face download", model=True)
                else:
                    expect_etag(job, lines[1].strip(), "the hub's ETag beside it")


def small_text(path: str) -> str:
    """Return the text of a small file, empty when it cannot be read: what it says is then missing."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(handle, _SMALL).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(handle)
