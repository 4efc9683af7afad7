"""Facts that were read a moment ago, shared by several commands: the rules of a monitor, a fact of Ansible."""

import contextlib
import datetime
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from gpudoctor import __version__
from gpudoctor.facts.snapshot import Snapshot, SnapshotError, read_snapshot, write_snapshot

#: How long to wait for another process that is reading the machine for the same cache.
_LOCK_SECONDS = 60.0


def cached(key: object, seconds: float, take: Callable[[], Snapshot]) -> Snapshot:
    """Return a snapshot of at most that age, taken now if there is none.

    Args:
        key: What the facts depend on: root, options.
        seconds: The greatest age.
        take: Reads the machine.
    """
    folder = _folder()
    if folder is None:
        return take()
    digest = hashlib.sha256(msgspec.json.encode([__version__, os.geteuid(), key])).hexdigest()[:16]
    path = folder / f"facts-{digest}.json"
    if (found := _young(path, seconds)) is not None:
        return found
    with _locked(folder / f"facts-{digest}.lock") as mine:
        # Who held the lock has read the machine meanwhile.
        if (found := _young(path, seconds)) is not None:
            return found
        taken = take()
        if mine:
            # A cache that cannot be written is no reason to have no report.
            with contextlib.suppress(SnapshotError):
                write_snapshot(taken, path)
        return taken


def _folder() -> Path | None:
    """Return a folder that only this user can write, None where there is none: forged facts make a false green."""
    if os.geteuid() == 0:
        base = "/run"
    else:
        own = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("XDG_CACHE_HOME")
        base = own or str(Path(os.environ.get("HOME") or "/nonexistent", ".cache"))
    place = Path(base, "gpudoctor")
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        told = place.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(told.st_mode) and told.st_uid == os.geteuid() and not told.st_mode & 0o022
    return place if private else None


def _young(path: Path, seconds: float) -> Snapshot | None:
    try:
        snapshot = read_snapshot(path)
        recorded = datetime.datetime.strptime(snapshot.recorded or "", "%Y-%m-%dT%H:%M:%SZ")
    except (SnapshotError, ValueError):
        return None
    age = time.time() - recorded.replace(tzinfo=datetime.timezone.utc).timestamp()
    # Times are whole seconds. A record from the future says that the clock was set: it tells no age.
    return snapshot if -1 <= age <= seconds else None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Yield True with the lock, False when it cannot be had in time."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        yield _lock(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True
