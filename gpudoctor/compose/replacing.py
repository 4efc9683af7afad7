"""Replace a file by an edited text: whole or not at all, with the old one kept beside it."""

import contextlib
import glob
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import NamedTuple

from gpudoctor.compose.tree import MAX_FILE_BYTES

_MOST_BACKUPS = 10_000


class NotReplaced(Exception):
    """Why the file is as it was: one sentence, and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Original(NamedTuple):
    """A file as it was read: its bytes, and what tells another file or a later state of it."""

    path: Path
    data: bytes
    status: os.stat_result


def read_original(path: Path) -> Original:
    """Read a file, its real path and its state together.

    Raises:
        NotReplaced: It cannot be read, is no regular file or too large.
    """
    try:
        real = path.resolve(strict=True)
        if not stat.S_ISREG(real.stat().st_mode):
            raise NotReplaced("it is no regular file", "name a Compose file")
        handle = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        raise NotReplaced(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise NotReplaced(f"it is larger than {MAX_FILE_BYTES >> 20} MiB, so it is no Compose file")
    return Original(real, data, status)


def replace_file(original: Original, data: bytes) -> Path:
    """Put new bytes in the file's place; return the backup.

    The backup is the old file itself under a second name, so that what somebody writes into it at the last moment is
    seen, and not lost: then the old file comes back.

    Raises:
        NotReplaced: Something is in the way; the file is as it was.
    """
    path = original.path
    new = path.with_name(f".{path.name}.gpudoctor-{secrets.token_hex(6)}")
    try:
        _require_replaceable(path, original.status)
        _write(new, data, original)
        _require_same(path, original)
        backup = _back_up(original)
        try:
            new.replace(path)
        except OSError:
            backup.unlink(missing_ok=True)
            raise
        if backup.read_bytes() != original.data:
            backup.replace(path)
            raise NotReplaced("it was changed by somebody else meanwhile, and is as they left it", "run this again")
        _flush_folder(path.parent)
        return backup
    except OSError as error:
        raise NotReplaced(f"it cannot be replaced: {error.strerror or error}; it is as it was") from None
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def _require_replaceable(path: Path, status: os.stat_result) -> None:
    if not status.st_mode & 0o222 or not os.access(path, os.W_OK):
        raise NotReplaced("it may not be written", f"its mode is {stat.S_IMODE(status.st_mode):04o}")
    # A backup of a run that was killed half way is the file itself.
    own = [each for each in path.parent.glob(f"{glob.escape(path.name)}.gpudoctor-backup-*") if each.samefile(path)]
    if status.st_nlink > 1 + len(own):
        raise NotReplaced("it has other names (hard links) that would keep the old text", "edit it by hand")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise NotReplaced("its folder may not be written", "the new file and the backup have to stand there")


def _write(new: Path, data: bytes, original: Original) -> None:
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(handle, "wb") as file:  # noqa: PTH123
        file.write(data)
        _dress(file.fileno(), original)
        file.flush()
        os.fsync(file.fileno())


def _dress(handle: int, original: Original) -> None:
    """Give a new file the owner, mode and labels of the old one."""
    status = original.status
    mine = os.fstat(handle)
    if (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
        try:
            os.fchown(handle, status.st_uid, status.st_gid)
        except OSError:
            raise NotReplaced("it belongs to somebody else, and would belong to you", "run this as its owner") from None
    os.fchmod(handle, stat.S_IMODE(status.st_mode))
    with contextlib.suppress(OSError, AttributeError):
        for name in os.listxattr(original.path):
            with contextlib.suppress(OSError):
                os.setxattr(handle, name, os.getxattr(original.path, name))


def _require_same(path: Path, original: Original) -> None:
    now = read_original(path)
    old = original.status
    same = (now.status.st_ino, now.status.st_dev, now.status.st_mtime_ns) == (old.st_ino, old.st_dev, old.st_mtime_ns)
    if not same or hashlib.sha256(now.data).digest() != hashlib.sha256(original.data).digest():
        raise NotReplaced("it was changed by somebody else meanwhile; nothing was written", "run this again")


def _back_up(original: Original) -> Path:
    path = original.path
    for number in range(1, _MOST_BACKUPS):
        backup = path.with_name(f"{path.name}.gpudoctor-backup-{number}")
        try:
            os.link(path, backup, follow_symlinks=False)
        except FileExistsError:
            continue
        except OSError:
            # No hard links on this file system: a copy tells less, and serves.
            try:
                _write(backup, original.data, original)
            except FileExistsError:
                continue
            except BaseException:
                with contextlib.suppress(OSError):
                    backup.unlink()
                raise
        return backup
    raise NotReplaced(f"it has {_MOST_BACKUPS - 1} backups already", "remove some")


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
