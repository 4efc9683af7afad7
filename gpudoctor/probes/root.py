"""Reading files under a prefix, so that a mounted host and a recorded tree use the same code."""

import fnmatch
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_MAX_LINKS = 40
_PIECE = 1 << 16


def _read(descriptor: int, limit: int) -> bytes:
    """Read to the end or the limit: the kernel's own files say no length, and come in pieces."""
    found = os.read(descriptor, min(limit, _PIECE))
    if not found or len(found) == limit:
        return found
    pieces, left = [found], limit - len(found)
    while left and (piece := os.read(descriptor, min(left, _PIECE))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


class Root:
    """A file system seen from ``prefix``. Absolute symbolic links stay inside it; every read is bounded.

    A missing file is None or empty, never an error; ``PermissionError`` is passed on, because it means
    "could not look".
    """

    def __init__(self, prefix: str = "/") -> None:
        self.prefix = os.path.normpath(prefix)

    @property
    def live(self) -> bool:
        """True for the machine's own root."""
        return self.prefix == "/"

    def path(self, name: str) -> Path:
        """Return the real path of ``name``, with every symbolic link resolved inside the prefix."""
        if self.live:
            return Path(name)
        waiting = [part for part in reversed(name.split("/")) if part]
        done: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part == ".":
                continue
            if part == "..":
                done = done[:-1]
                continue
            here = os.path.join(self.prefix, *done, part)
            if links < _MAX_LINKS and os.path.islink(here):
                links += 1
                target = os.readlink(here)
                if target.startswith("/"):
                    done = []
                waiting.extend(p for p in reversed(target.split("/")) if p)
            else:
                done.append(part)
        return Path(self.prefix, *done)

    def read_bytes(self, name: str, limit: int = 1 << 20) -> bytes | None:
        """Return at most ``limit`` bytes of a regular file, None when it is not there or not readable as one.

        A FIFO would hold up the whole child, a device may act when it is opened: neither is opened.

        Raises:
            PermissionError: The user may not read it.
        """
        try:
            path = name if self.live else self.path(name)
            if not stat.S_ISREG(os.stat(path).st_mode):
                return None
            # Should it become a FIFO just now, O_NONBLOCK keeps the open from waiting.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                return _read(descriptor, limit)
            finally:
                os.close(descriptor)
        except PermissionError:
            raise
        except (OSError, ValueError):
            return None

    def read(self, name: str, limit: int = 1 << 20) -> str | None:
        """Return a file's text without the final newline; undecodable bytes are replaced."""
        data = self.read_bytes(name, limit)
        return None if data is None else data.decode("utf-8", "replace").rstrip("\n")

    def read_int(self, name: str, base: int = 10) -> int | None:
        """Return a file's number, None when it holds none."""
        try:
            return int((self.read(name, 64) or "").strip(), base)
        except (ValueError, PermissionError):
            return None

    def exists(self, name: str) -> bool:
        """True if the file, folder or node is there (through links)."""
        try:
            return self.path(name).exists()
        except OSError:
            return False

    def stat(self, name: str) -> os.stat_result | None:
        """Return the status through links, None when it is not there."""
        try:
            return self.path(name).stat()
        except OSError:
            return None

    def readlink(self, name: str) -> str | None:
        """Return a link's own text, None when it is no link."""
        folder, _, last = name.rstrip("/").rpartition("/")
        try:
            return os.readlink(self.path(folder or "/") / last)
        except OSError:
            return None

    def list(self, name: str) -> list[str]:
        """Return the names in a folder, sorted; empty when it is not there.

        Raises:
            PermissionError: The user may not list it.
        """
        try:
            return sorted(os.listdir(self.path(name)))
        except PermissionError:
            raise
        except OSError:
            return []

    def glob(self, pattern: str) -> Iterator[str]:
        """Yield the names that match, component by component (no ``**``), sorted."""

        def walk(base: str, parts: list[str]) -> Iterator[str]:
            if not parts:
                yield base
                return
            head, rest = parts[0], parts[1:]
            if any(c in head for c in "*?["):
                try:
                    names = self.list(base or "/")
                except PermissionError:
                    return
                for found in names:
                    if fnmatch.fnmatchcase(found, head):
                        yield from walk(f"{base}/{found}", rest)
            elif self.exists(f"{base}/{head}"):
                yield from walk(f"{base}/{head}", rest)

        yield from walk("", [p for p in pattern.split("/") if p])

    def is_character_device(self, name: str) -> bool:
        """True for a character device node."""
        status = self.stat(name)
        return status is not None and stat.S_ISCHR(status.st_mode)
