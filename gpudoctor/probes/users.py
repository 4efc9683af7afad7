"""Local users and their homes, from /etc/passwd alone: a directory server that hangs must not be asked."""

from functools import lru_cache
from typing import NamedTuple

from gpudoctor.probes.regular_file import read_text
from gpudoctor.probes.root import Root

_MAX_BYTES = 4 << 20
_NOBODY = 65534


class User(NamedTuple):
    """One line of /etc/passwd."""

    name: str
    uid: int
    home: str

    @property
    def is_person(self) -> bool:
        """True for root and for those that a person logs in as."""
        return self.uid == 0 or 1000 <= self.uid != _NOBODY


def read_users(root: Root) -> tuple[User, ...]:
    """Return the local users; empty when the file cannot be read."""
    return _parsed(read_text(root, "/etc/passwd", _MAX_BYTES) or "")


@lru_cache(maxsize=4)
def _parsed(text: str) -> tuple[User, ...]:
    return tuple(parse_passwd(text))


def parse_passwd(text: str) -> list[User]:
    """Read /etc/passwd; lines of another form are passed over."""
    found: list[User] = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 7 and fields[2].isascii() and fields[2].isdigit() and fields[5].startswith("/"):
            found.append(User(fields[0], int(fields[2]), fields[5].rstrip("/") or "/"))
    return found
