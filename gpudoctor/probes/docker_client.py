"""Asking a container engine through its socket: reading only, one bounded JSON answer at a time.

Docker's own library opens a connection for each question and reads whatever comes; a connection of the standard
library is kept, bounded, and follows no redirection to another machine.
"""

import contextlib
import http.client
import socket
import urllib.parse
from collections.abc import Iterator
from typing import Any

import msgspec

from gpudoctor.probes.engine_socket import socket_path

#: 4000 containers take about 10 MB.
MAX_ANSWER_BYTES = 32 << 20
_PIECE = 1 << 18
#: Deadlines are the parent's matter; this only keeps a forgotten child from staying for ever.
_SECONDS = 120


class NoAnswer(Exception):
    """The engine gave no answer that can be used; ``status`` is HTTP's, None when it did not get that far."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class _Connection(http.client.HTTPConnection):
    """HTTP through a socket of the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(self._path)


class EngineClient:
    """A connection to one engine of this machine; ``NoAnswer`` when the address is none.

    Requests name no API version: every engine then answers in the newest that it speaks.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        path = socket_path(address)
        try:
            self._connection = _Connection(path) if path else http.client.HTTPConnection(
                urllib.parse.urlsplit(address).netloc, timeout=_SECONDS)
        except (http.client.HTTPException, ValueError) as error:
            raise NoAnswer(f"this is no address: {error}") from None
        self._asked: str | None = None

    def another(self) -> "EngineClient":
        """Return another connection to the same engine."""
        return EngineClient(self._address)

    def ahead(self, path: str) -> None:
        """Ask what will be asked next: the engine works on it meanwhile. Should it not take it, ``get`` will tell."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._ask(path)

    def get(self, path: str, *, then: str | None = None, **parameters: str) -> Any:
        """Return the decoded answer to ``GET path``.

        Args:
            path: The question.
            then: The path that will be asked next, as by ``ahead``, while this answer is understood.
            parameters: Of the question.

        Raises:
            NoAnswer: No connection, an error of the engine, no JSON, or more than 32 MiB of it.
        """
        status, kind, data = self._bytes(_with(path, parameters), then)
        try:
            answer = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise NoAnswer(f"the answer to {path} is no JSON ({kind[:60] or 'no type'}, {len(data)} bytes)",
                           status) from None
        if status != 200:
            said = answer.get("message") if isinstance(answer, dict) else None
            raise NoAnswer(f"the engine answers {status} to {path}: {str(said)[:300]}", status)
        return answer

    def lines(self, path: str, **parameters: str) -> list[Any]:
        """Return the JSON values, one after the other, of an answer that ends; none where there is no such answer."""
        try:
            status, _, data = self._bytes(_with(path, parameters))
            return msgspec.json.Decoder().decode_lines(data) if status == 200 else []
        except (NoAnswer, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []

    def pieces(self, path: str, **parameters: str) -> Iterator[bytes]:
        """Yield an answer that is no JSON (a log) as it comes; who reads it bounds it.

        Raises:
            NoAnswer: No connection, or an error of the engine, in its words.
        """
        try:
            self._ask(_with(path, parameters))
            response = self._connection.getresponse()
            if response.status != 200:
                said = response.read(300).decode("utf-8", "replace").strip()
                raise NoAnswer(f"the engine answers {response.status}: {said}", response.status)
            while piece := response.read(_PIECE):
                yield piece
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswer(f"the engine broke off: {type(error).__name__}: {error}"[:300]) from None
        finally:
            self._close()

    def _bytes(self, path: str, then: str | None = None) -> tuple[int, str, bytes]:
        try:
            if self._asked != path:
                self._ask(path)
            response = self._connection.getresponse()
            data = bytearray()
            while piece := response.read(_PIECE):
                data += piece
                if len(data) > MAX_ANSWER_BYTES:
                    raise NoAnswer(f"the answer to {path} is larger than {MAX_ANSWER_BYTES >> 20} MiB", response.status)
            if response.length:
                # Reading piece by piece, a short answer is not an error of the library's.
                raise NoAnswer(f"the engine broke off in its answer to {path}")
            self._asked = None
        except NoAnswer:
            self._close()
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._close()
            raise NoAnswer(f"the engine broke off: {type(error).__name__}: {error}"[:300]) from None
        if then is not None:
            self.ahead(then)
        return response.status, response.headers.get("Content-Type", ""), bytes(data)

    def _ask(self, path: str) -> None:
        if self._asked is not None:
            self._close()
        self._connection.request("GET", path)
        self._asked = path

    def _close(self) -> None:
        self._connection.close()
        self._asked = None


def _with(path: str, parameters: dict[str, str]) -> str:
    return f"{path}?{urllib.parse.urlencode(parameters)}" if parameters else path
