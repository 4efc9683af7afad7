"""Lists of checksums as ``sha256sum``, its sisters and the BSDs' ``sha256`` write them."""

import os
import re
from typing import NamedTuple

from gpudoctor.verify.digest import DIGITS
from gpudoctor.verify.jobs import Expected, Plan

_LARGEST = 64 << 20
_LINES = 1 << 20
_NAMES = re.compile(
    r"(?:(?:md5|sha1|sha224|sha256|sha384|sha512|b2)sums?|checksums?)(?:[._-](?:md5|sha\d{1,3}|b2))?(?:\.txt)?$"
    r"|.*\.(?:md5|sha1|sha224|sha256|sha384|sha512|b2)(?:sums?)?(?:\.txt)?$",
    re.IGNORECASE,
)
_GNU = re.compile(rb"(\\?)([0-9a-fA-F]{32,128})(?: [ *]|[ \t]+)(.+)")
_BSD = re.compile(
    rb"(\\?)(MD5|SHA1|SHA224|SHA256|SHA384|SHA512|SHA2-256|SHA2-512|BLAKE2b) ?\((.+)\) ?= ?([0-9a-fA-F]+)"
)
_BARE = re.compile(rb"([0-9a-fA-F]{32,128})")
_BY_LENGTH = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_ESCAPES = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}


class Line(NamedTuple):
    """One entry: algorithm, digest, and the file's name as it stands there."""

    algorithm: str
    digest: str
    name: bytes


class HashList(NamedTuple):
    """The entries of a list, and how many of its lines are none (``wrong``, the first of them ``first_wrong``)."""

    lines: list[Line]
    wrong: int
    first_wrong: int


def is_list_name(name: str) -> bool:
    """True for ``SHA256SUMS``, ``model.gguf.sha256``, ``checksums.txt`` and their like."""
    return bool(_NAMES.match(name))


def read_list(data: bytes, name: str) -> HashList:
    """Read a list's entries; CRLF, binary-mode stars, escaped names, BSD style and a byte order mark are understood."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", "replace").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    lines: list[Line] = []
    wrong = first_wrong = 0
    for number, text in enumerate(data.split(b"\n"), 1):
        text = text.removesuffix(b"\r")
        if not text.strip() or text.startswith((b"#", b";")):
            continue
        found = _line(text, name) if len(lines) < _LINES else None
        if found is None:
            wrong, first_wrong = wrong + 1, first_wrong or number
        else:
            lines.append(found)
    return HashList(lines, wrong, first_wrong)


def _line(text: bytes, list_name: str) -> Line | None:
    if found := _BSD.fullmatch(text):
        algorithm = found[2].decode().lower().replace("sha2-", "sha")
        digest = found[4].decode().lower()
        return Line(algorithm, digest, _plain(found[3], found[1])) if len(digest) == DIGITS[algorithm] else None
    found = _GNU.fullmatch(text)
    if found is None and (bare := _BARE.fullmatch(text.strip())) and "." in list_name:
        # ``model.gguf.sha256`` with nothing but the digest is about ``model.gguf``.
        found_name = os.fsencode(list_name[: list_name.rindex(".")])
        algorithm = _algorithm(bare[1], list_name)
        return Line(algorithm, bare[1].decode().lower(), found_name) if algorithm else None
    if found is None or not (algorithm := _algorithm(found[2], list_name)):
        return None
    return Line(algorithm, found[2].decode().lower(), _plain(found[3], found[1]))


def _algorithm(digest: bytes, list_name: str) -> str:
    known = _BY_LENGTH.get(len(digest), "")
    return "blake2b" if known == "sha512" and re.search(r"(?i)(?:^|\.)b2", list_name) else known


def _plain(name: bytes, escaped: bytes) -> bytes:
    """Undo what GNU writes for a name with a line break or a backslash, which it marks at the line's start."""
    return re.sub(rb"\\[\\nr]", lambda found: _ESCAPES[found[0]], name) if escaped else name


def add_list(plan: Plan, path: str, *, named: bool) -> bool:
    """Add what a list expects; False when it is no list (and was not named by the user as one)."""
    folder, name = os.path.split(path)
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        plan.note(path, "unreadable", error.strerror or str(error), kind="list of checksums")
        return True
    if len(data) > _LARGEST:
        plan.note(path, "unreadable", "it is too large for a list of checksums", kind="list of checksums")
        return True
    found = read_list(data, name)
    if not found.lines:
        if named or is_list_name(name):
            plan.note(path, "unreadable", "no line of it is a checksum and a name", kind="list of checksums")
        return named or is_list_name(name)
    if found.wrong:
        problem = f"{found.wrong} of its lines are no checksum and name, first line {found.first_wrong}"
        plan.note(path, "unreadable", problem, kind="list of checksums")
    for line in found.lines:
        _expect(plan, folder, name, line)
    return True


def _expect(plan: Plan, folder: str, list_name: str, line: Line) -> None:
    name = os.fsdecode(line.name)
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:[\\/]", name) or "\0" in name:
        plan.note(name, "refused", "it leads out of the list's folder", kind="entry of a list", by=list_name)
        return
    path = os.path.join(folder, name)
    if not os.path.lexists(path) and "\\" in name:
        # Lists made on Windows.
        path = os.path.join(folder, *parts)
    plan.job(path).expected.append(Expected(line.algorithm, line.digest, list_name))
