"""What a former report verified, so that unchanged files are not read again."""

from pathlib import Path
from typing import Any

import msgspec

from gpudoctor.facts.files import CheckedFile

#: A report on a million files.
_LARGEST = 2 << 30
BYTES, MODIFIED, INODE = "bytes", "modified, ns", "inode"
_IDS = ("files.broken", "model.files-broken")


class SinceError(Exception):
    """It is no report that can be gone on from; the message says why."""


class _Seen(msgspec.Struct):
    what: str
    value: Any = None


class _Result(msgspec.Struct):
    id: str
    status: str
    subject: str
    evidence: tuple[_Seen, ...] = ()


class _Report(msgspec.Struct):
    schema: str
    results: tuple[_Result, ...]


def read_since(path: Path) -> dict[str, CheckedFile]:
    """Return the files that a report says were verified, by path.

    Raises:
        SinceError: The report cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise SinceError(f"cannot be read: {error.strerror or error}") from None
    if len(data) > _LARGEST:
        raise SinceError("it is too large for a report")
    try:
        report = msgspec.json.decode(data, type=_Report)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise SinceError("it is no report of gpudoctor verify, or cut short") from None
    if report.schema != "gpudoctor.report/1":
        raise SinceError(f"its schema is {report.schema[:40]!r}, not gpudoctor.report/1")
    found = (_file(each) for each in report.results if each.status == "pass" and each.id in _IDS)
    return {each.path: each for each in found if each is not None}


def _file(result: _Result) -> CheckedFile | None:
    if not result.subject.startswith("file:"):
        return None
    values = {each.what: each.value for each in result.evidence}
    size, modified, inode = (_number(values.pop(name, None)) for name in (BYTES, MODIFIED, INODE))
    if size is None or modified is None or inode is None:
        return None
    digests = {name: value for name, value in values.items() if isinstance(value, str)}
    return CheckedFile(
        path=result.subject.removeprefix("file:"), outcome="verified", size_bytes=size, modified_ns=modified,
        inode=inode, digests=digests,
    )  # fmt: skip


def _number(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 25 else None
