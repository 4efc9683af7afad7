"""A socket between a client and a real engine that writes down what is asked."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

REQUEST = re.compile(rb"(?:^|\n|\}|\0)([A-Z]{3,8}) (/[^ ]*) HTTP/1\.1\r\n")


class Record:
    """``requests`` are ("POST", "/containers/create"); ``created`` the bodies of the containers asked for."""

    def __init__(self) -> None:
        self.said = bytearray()
        self.lock = threading.Lock()

    @property
    def requests(self) -> list[tuple[str, str]]:
        return [(method.decode(), path.decode()) for method, path in REQUEST.findall(bytes(self.said))]

    @property
    def created(self) -> list[dict[str, Any]]:
        found = []
        for match in re.finditer(rb"POST /containers/create[^\n]*\n(?:[^\r\n]+\r\n)*\r\n", bytes(self.said)):
            found.append(json.JSONDecoder().raw_decode(bytes(self.said[match.end() :]).decode(errors="replace"))[0])
        return found


def _relay(
    source: socket.socket, target: socket.socket, record: Record | None = None, refused: bytes | None = None
) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            if refused is not None and data.startswith(refused):
                source.sendall(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                break
            if record is not None:
                with record.lock:
                    record.said += data
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def recording(engine: Path, place: Path, refused: bytes | None = None) -> Generator[Record, None, None]:
    """Listen at ``place`` and pass everything on to the engine's socket, but for requests that start so."""
    record = Record()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(place))
    listening.listen()
    ends: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(engine))
                ends.extend((client, server))
                threading.Thread(target=_relay, args=(client, server, record, refused), daemon=True).start()
                threading.Thread(target=_relay, args=(server, client), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield record
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(timeout=5)
        for end in ends:
            end.close()
