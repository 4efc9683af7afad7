"""Walking the paths that were named, and recognising what lies there by its contents."""

import os
import stat

from gpudoctor.verify import hub, ollama
from gpudoctor.verify.hash_lists import add_list, is_list_name
from gpudoctor.verify.jobs import Plan
from gpudoctor.verify.splits import add_sets
from gpudoctor.verify.structure import kind_of

_DEPTH = 64
_INSIDE = ("wheel", "tar", "gzip", "zstd")


def find(plan: Plan, path: str) -> None:
    """Add everything below one path that a user named.

    Raises:
        OSError: There is no such path, or it may not be read at all.
        TooMany: There are more files than are looked at.
    """
    mode = os.stat(path).st_mode
    plan.roots.append(os.path.realpath(path))
    if stat.S_ISDIR(mode):
        os.scandir(path).close()
        _folder(plan, path, 0)
        return
    name = os.path.basename(path)
    if ollama.BLOB.fullmatch(name):
        ollama.add_blob(plan, path)
    elif not (stat.S_ISREG(mode) and is_list_name(name) and add_list(plan, path, named=True)):
        _file(plan, path)
        plan.job(path).named = True


def _folder(plan: Plan, path: str, depth: int, repository: str = "") -> None:
    try:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda e: e.name)
    except OSError as error:
        plan.note(path, "unreadable", error.strerror or str(error), kind="folder")
        return
    if depth > _DEPTH:
        plan.note(path, "unreadable", "it lies too deep", kind="folder")
        return
    folders = {e.name for e in entries if e.is_dir(follow_symlinks=False)}
    names = []
    for entry in entries:
        if entry.is_file(follow_symlinks=False) or (entry.is_symlink() and not _special(entry.path)):
            names.append(entry.name)
        elif entry.name not in folders:
            plan.job(entry.path)
    if hub.is_repository(os.path.basename(os.path.abspath(path)), folders):
        for snapshot in hub.add_repository(plan, path):
            if os.path.isdir(snapshot):
                _folder(plan, snapshot, depth + 1, path)
        return
    skipped: set[str] = set()
    if ollama.is_store(folders, path):
        ollama.add_store(plan, path)
        skipped = {"blobs", "manifests"}
    if "oci-layout" in names and "blobs" in folders:
        from gpudoctor.verify.oci import add_layout

        add_layout(plan, path)
        skipped = {"blobs"}
        names = []
    if os.path.isdir(os.path.join(path, hub.METADATA)):
        hub.add_local_metadata(plan, path)
        skipped.add(".cache")
    add_sets(plan, path, names)
    for name in names:
        if ollama.BLOB.fullmatch(name):
            ollama.add_blob(plan, os.path.join(path, name))
        elif not (is_list_name(name) and not repository and add_list(plan, os.path.join(path, name), named=False)):
            _file(plan, os.path.join(path, name), repository)
    if any(each.endswith(".whl") for each in names):
        plan.wheel_folders[path] = names
    for name in sorted(folders - skipped - {".git", ".locks", ".no_exist"}):
        _folder(plan, os.path.join(path, name), depth + 1, repository)


def _special(path: str) -> bool:
    """True for a link to a pipe, a socket or a device: to open one as a list could wait for ever."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _file(plan: Plan, path: str, repository: str = "") -> None:
    """Add one file, or what a link leads to."""
    inner = path
    if os.path.islink(path):
        try:
            blob = hub.linked_blob(repository, path) if repository else None
            os.stat(path)
            if os.path.isdir(path):
                # What lies below a path that is read anyway is found there; other folders are not followed.
                if not plan.holds(path):
                    problem = "a link to a folder is not followed: name the folder itself"
                    plan.note(path, "unreadable", problem, kind="link")
                return
        except FileNotFoundError:
            plan.note(blob or path, "missing", kind="link", model=bool(repository), by=os.path.basename(path))
            return
        except OSError as error:
            plan.note(path, "unreadable", error.strerror or str(error), kind="link", model=bool(repository))
            return
        inner = blob or path
    start = _start(path)
    kind = kind_of(path, start)
    if kind == "torch" or kind == "file" or kind in ("safetensors", "gguf"):
        job = plan.job(inner, kind, model=bool(repository) or kind != "file")
        # A blob of a cache has no name that tells its kind; the link to it does.
        job.kind = kind if job.kind.endswith("blob") and kind != "file" else job.kind
        return
    job = plan.job(inner, kind)
    job.inside = kind if kind in _INSIDE else ""


def _start(path: str) -> bytes:
    """Return a file's first bytes; its job says why they cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(handle, 512)
    except OSError:
        return b""
    finally:
        os.close(handle)
