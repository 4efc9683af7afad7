"""The log of one container, through its engine's socket, or of one systemd unit, from the journal: read only, bounded.

It fills no section of the Snapshot: ``diagnose`` reads what comes as it reads a pasted file.
"""

import os
from collections.abc import Iterator

import msgspec

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes import command
from gpudoctor.probes.docker_answer import Answer, Unexpected
from gpudoctor.probes.engine_socket import find_engine
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("log",)
OPTIONS = ("container", "unit", "since", "lines")

MAX_BYTES = 32 << 20
_CHUNK = 1 << 19
_HEAD = 8
_JOURNALS = ("/var/log/journal", "/run/log/journal")
_NO_RIGHT = ("insufficient permissions", "not seeing messages from other users", "Permission denied")


class LogChunk(msgspec.Struct):
    """A piece of a log, in its order."""

    index: int
    text: str


def probe(
    out: Reporter, root: Root, container: str = "", unit: str = "", since: float | None = None, lines: int = 50_000
) -> None:
    """Send the newest lines of a container or a unit.

    Args:
        out: Where to.
        root: The machine; a container's engine is asked only on the running one.
        container: Its name or id.
        unit: ``ollama.service``.
        since: Seconds since 1970 before which nothing is read.
        lines: The most lines.
    """
    if out.left_out("the log"):
        out.unavailable("log", "the log did not come in time", "timeout")
        return
    out.start("the log", doing=f"reading {container or unit}", section="log")
    if container:
        _container(out, root, container, since, lines)
    else:
        _unit(out, root, unit, since, lines)


def _container(out: Reporter, root: Root, name: str, since: float | None, lines: int) -> None:
    from gpudoctor.probes.docker_client import EngineClient, NoAnswer

    engine = find_engine(root, os.environ)
    if isinstance(engine, Unavailable):
        out.unavailable("log", engine.reason, engine.kind)
        return
    try:
        client = EngineClient(engine.address)
        raw = client.get(f"/containers/{name}/json")
        told = Answer(raw)
        asked = {"stdout": "1", "stderr": "1", "tail": str(lines)}
        if since is not None:
            asked["since"] = str(int(since))
        # docker inspect's own form: its facts are judged beside the log.
        out.set("log", about=msgspec.json.encode([raw]).decode()[:MAX_BYTES], cut=False,
                error=told.part("State").text("Error"))
        pieces = client.pieces(f"/containers/{name}/logs", **asked)
        _send(out, pieces if told.part("Config").flag("Tty") else _plain(pieces))
    except NoAnswer as error:
        if error.status == 404:
            out.unavailable("log", f"the engine has no container {name!r}", "not-applicable")
        else:
            out.unavailable("log", str(error))
    except Unexpected as error:
        out.unavailable("log", f"the engine's answer has another form: {error}")


def _plain(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Take the engine's frames apart: one byte for the stream, three of zero, four for the length."""
    data = b""
    for piece in pieces:
        data += piece
        at = 0
        while len(data) - at >= _HEAD:
            length = int.from_bytes(data[at + 4 : at + _HEAD], "big")
            if length > MAX_BYTES or len(data) - at - _HEAD < length:
                break
            yield data[at + _HEAD : at + _HEAD + length]
            at += _HEAD + length
        data = data[at:]
    if data:
        yield data[_HEAD:]


def _send(out: Reporter, pieces: Iterator[bytes]) -> None:
    waiting, taken, index = bytearray(), 0, 0
    for piece in pieces:
        waiting += piece
        taken += len(piece)
        if len(waiting) >= _CHUNK:
            out.append("log", "chunks", LogChunk(index, waiting.decode("utf-8", "replace")))
            waiting, index = bytearray(), index + 1
        if taken >= MAX_BYTES:
            out.set("log", cut=True)
            break
    if waiting:
        out.append("log", "chunks", LogChunk(index, waiting.decode("utf-8", "replace")))


def _unit(out: Reporter, root: Root, unit: str, since: float | None, lines: int) -> None:
    asked: list[str] = ["--no-pager", "--output=cat", "--all", f"--lines={lines}", f"--unit={unit}"]
    if since is not None:
        asked.append(f"--since=@{int(since)}")
    if not root.live:
        place = next((folder for folder in _JOURNALS if root.stat(folder) is not None), _JOURNALS[0])
        asked.append(f"--directory={root.path(place)}")
    try:
        _, text, errors = command.run("journalctl", *asked, limit=MAX_BYTES)
    except command.CommandMissing:
        out.unavailable("log", "journalctl is not installed here", "not-applicable")
        return
    said = any(line and not line.startswith("-- ") for line in text.split("\n")[:1000])
    if said:
        data = text.encode("utf-8", "replace")
        out.set("log", about="", cut=len(data) >= MAX_BYTES)
        _send(out, (data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)))
    elif any(words in f"{errors}{text}" for words in _NO_RIGHT):
        way = "add the user to the group systemd-journal or adm, or use sudo"
        out.unavailable("log", f"no permission to read the journal of {unit}: {way}", "no-permission")
    else:
        reason = errors.strip().split("\n")[-1][:200]
        out.unavailable("log", f"the journal has no line of {unit}" + (f" ({reason})" if reason else ""))
