"""Opening files that may be anything: only regular ones are read, nothing blocks, every read is bounded."""

import contextlib
import os
import stat
from collections.abc import Iterator

from gpudoctor.probes.root import Root


class RegularFile:
    """An open regular file, read by position. Bytes beyond its end are simply missing.

    It is read rather than mapped: a file that is cut short meanwhile (a package being removed) would kill a process
    that has it mapped.
    """

    def __init__(self, descriptor: int, status: os.stat_result) -> None:
        self._descriptor = descriptor
        self.size = status.st_size
        #: The same for every link to one file, and another once it was written to.
        self.identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def read(self, start: int, length: int) -> bytes:
        """Return at most ``length`` bytes from ``start``."""
        return os.pread(self._descriptor, length, start) if start < self.size and length > 0 else b""

    def read_into(self, buffer: memoryview, start: int) -> int:
        """Fill a buffer from ``start`` and return how much came."""
        return os.preadv(self._descriptor, [buffer], start) if start < self.size else 0


@contextlib.contextmanager
def open_regular(root: Root, name: str) -> Iterator[RegularFile]:
    """Open a regular file.

    Raises:
        OSError: It is not there, not readable, or a pipe, socket, device or folder.
    """
    path = root.path(name)
    # Looked at first: opening a device can have effects of its own.
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{name} is no regular file")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{name} is no regular file")
        yield RegularFile(descriptor, status)
    finally:
        os.close(descriptor)


def read_text(root: Root, name: str, limit: int = 1 << 20) -> str | None:
    """Return at most ``limit`` bytes of a regular file as text, None when it cannot be read for whatever reason."""
    try:
        with open_regular(root, name) as file:
            return file.read(0, min(limit, file.size) or limit).decode("utf-8", "replace")
    except OSError:
        return None


def names_in(root: Root, folder: str, limit: int = 20_000) -> list[str]:
    """Return the names in a folder, sorted, at most ``limit``; empty when it cannot be listed."""
    found: list[str] = []
    with contextlib.suppress(OSError), os.scandir(root.path(folder)) as entries:
        for entry in entries:
            found.append(entry.name)
            if len(found) == limit:
                break
    return sorted(found)


def folders_in(root: Root, folder: str, limit: int = 2_000) -> list[str]:
    """Return the names of folders, and of links that may lead to one, in a folder; empty when it cannot be listed.

    None of them is touched, for one may be a network volume that hangs.
    """
    found: list[str] = []
    with contextlib.suppress(OSError), os.scandir(root.path(folder)) as entries:
        for entry in entries:
            if entry.is_symlink() or entry.is_dir(follow_symlinks=False):
                found.append(entry.name)
                if len(found) == limit:
                    break
    return sorted(found)


def real_path(root: Root, name: str) -> str:
    """Return a path with every link resolved, as seen inside the root."""
    if root.live:
        return os.path.realpath(name)
    real = str(root.path(name))
    return real[len(root.prefix) :] if real.startswith(root.prefix + "/") else real
