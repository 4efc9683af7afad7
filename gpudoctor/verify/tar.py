"""Tar archives front to back: names, sizes and contents, with every length checked before anything is held.

Python's own reader holds a whole extended header, however large the archive claims it is, and takes an archive that
ends early between two members for whole. Format: POSIX.1-2001 pax, GNU tar's long names and base-256 numbers.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

_BLOCK = 512
_LONGEST = 1 << 20
_MEMBERS = 1 << 20

Read = Callable[[memoryview], int]
"""Fills a buffer like ``readinto``; 0 at the end."""


class Broken(Exception):
    """The archive is no tar archive, damaged, or cut short; the message says which."""


class Member(NamedTuple):
    """One entry. ``kind`` is tar's type letter: ``0`` a file, ``2`` a symbolic link, ``5`` a folder."""

    name: str
    kind: str
    size: int
    link: str


class Tar:
    """Reads the members of an archive in their order; each one's contents by `contents`, else they are stepped over."""

    def __init__(self, read: Read, view: memoryview) -> None:
        self._read = read
        self._view = view
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """Yield files, links and folders.

        Raises:
            Broken: It is damaged, or ends early.
        """
        extended: dict[str, str] = {}
        for _ in range(_MEMBERS):
            block = self._exactly(_BLOCK)
            if not any(block):
                if any(self._exactly(_BLOCK)):
                    raise Broken("its end is not where its end mark is")
                self._drain()
                return
            name, kind, size, link = _header(block)
            self._left, self._padding = size, -size % _BLOCK
            if kind in "xgLK":
                text = self._small(size)
                if kind == "x":
                    extended.update(_pax(text))
                elif kind in "LK":
                    key = "path" if kind == "L" else "linkpath"
                    extended[key] = text.rstrip(b"\0").decode("utf-8", "surrogateescape")
                continue
            if "size" in extended:
                if not extended["size"].isdigit() or len(extended["size"]) > 18:
                    raise Broken("a member's length is no number")
                size = int(extended["size"])
                self._left, self._padding = size, -size % _BLOCK
            plain = "0" if kind in "\0 07" else kind
            yield Member(extended.get("path", name), plain, size, extended.get("linkpath", link))
            for _part in self.contents():
                pass
            self._skip_padding()
            extended = {}
        raise Broken(f"it has more than {_MEMBERS} members")

    def contents(self) -> Iterator[memoryview]:
        """Yield the contents of the member at hand, part by part."""
        while self._left:
            count = self._read(self._view[: min(self._left, len(self._view))])
            if not count:
                raise Broken("it is cut short")
            self._left -= count
            yield self._view[:count]

    def _small(self, size: int) -> bytes:
        if size > _LONGEST:
            raise Broken("an extended header is longer than any name")
        text = b"".join(bytes(part) for part in self.contents())
        self._skip_padding()
        return text

    def _skip_padding(self) -> None:
        if self._padding:
            self._exactly(self._padding)
            self._padding = 0

    def _exactly(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            count = self._read(self._view[: size - len(got)])
            if not count:
                raise Broken("it is cut short")
            got += self._view[:count]
        return bytes(got)

    def _drain(self) -> None:
        """Read what follows the end mark: padding, and a compressed file's own checksum behind it."""
        while self._read(self._view):
            pass


def _header(block: bytes) -> tuple[str, str, int, str]:
    stored = _number(block[148:156])
    plain = sum(block) - sum(block[148:156]) + 8 * 32
    if stored != plain:
        raise Broken("a header's checksum is wrong")
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    name = _text(block[:100])
    return f"{prefix}/{name}" if prefix else name, chr(block[156]), _number(block[124:136]), _text(block[157:257])


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], "big")
        if value >= 1 << 60:
            raise Broken("a member's length is impossible")
        return value
    digits = field.strip(b"\0 ")
    try:
        return int(digits or b"0", 8)
    except ValueError:
        raise Broken("a header holds no number where one belongs") from None


def _pax(text: bytes) -> dict[str, str]:
    """Read ``<length> <key>=<value>`` records."""
    found: dict[str, str] = {}
    while text.strip(b"\0"):
        length, space, _ = text[:20].partition(b" ")
        if not space or not length.isdigit() or not len(length) < int(length) <= len(text):
            raise Broken("an extended header cannot be read")
        key, equals, value = text[len(length) + 1 : int(length)].rstrip(b"\n").partition(b"=")
        if equals and key in (b"path", b"linkpath", b"size"):
            found[key.decode()] = value.decode("utf-8", "surrogateescape")
        text = text[int(length) :]
    return found
