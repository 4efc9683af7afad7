"""Asking one HTTP service in a child: no proxy, no redirect followed, every body and every wait bounded."""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gpudoctor.facts.serving import FailureKind

_MOST_BYTES = 4 << 20
_MOST_LINE = 1 << 16


class NoAnswer(Exception):
    """Why a service could not be asked, in words and by its kind; ``by_an_engine`` when only one speaks so."""

    def __init__(self, kind: FailureKind, words: str, *, by_an_engine: bool = False) -> None:
        super().__init__(words)
        self.kind: FailureKind = kind
        self.words = words
        self.by_an_engine = by_an_engine


class Answer(NamedTuple):
    """Status, media type and whole body of one answer."""

    status: int
    media_type: str
    body: bytes
    location: str = ""

    def json(self) -> Any:
        """Return the body as JSON, None when it is something else."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def is_page(self) -> bool:
        """True for a page that is made for people."""
        return "html" in self.media_type or self.body[:64].lstrip().lower().startswith((b"<!doctype", b"<html"))


class HttpClient:
    """One service. The environment's proxies are never asked, redirects are told and not followed.

    Args:
        url: ``http://host:port`` or ``https://...``, with or without a path before every question.
        key: Sent as a bearer token.
        ca_file: PEM file with the authority that signed the service's certificate.
        patience: Seconds for one whole answer.
    """

    def __init__(self, url: str, *, key: str | None = None, ca_file: str | None = None, patience: float = 5.0) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._secure = parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        self._key = key
        self._patience = patience
        self._context: ssl.SSLContext | None = None
        if self._secure:
            try:
                self._context = ssl.create_default_context(cafile=ca_file)
            except (OSError, ValueError) as error:
                raise NoAnswer("tls", f"{ca_file} holds no certificates: {_words(error)}") from None

    def get(self, path: str) -> Answer:
        """Ask with GET.

        Raises:
            NoAnswer: No whole answer came, whatever its status.
        """
        return self._ask("GET", path, None)

    def post(self, path: str, document: dict[str, Any]) -> Answer:
        """Ask with POST and a JSON document; raises NoAnswer as ``get`` does."""
        return self._ask("POST", path, document)

    def _ask(self, method: str, path: str, document: dict[str, Any] | None) -> Answer:
        deadline = time.monotonic() + self._patience
        with _Connection(self, deadline) as connection:
            response = connection.send(method, path, document)
            body = b"".join(connection.pieces(response, _MOST_BYTES))
            media = response.getheader("Content-Type", "") or ""
            return Answer(response.status, media.lower(), body, response.getheader("Location", "") or "")

    def lines(self, path: str, document: dict[str, Any], seconds: float) -> Iterator[bytes]:
        """Ask with POST and yield the answer's lines as they come, for at most so many seconds.

        Raises:
            NoAnswer: It failed, or time ran out before the end.
        """
        deadline = time.monotonic() + seconds
        with _Connection(self, deadline) as connection:
            response = connection.send("POST", path, document)
            if response.status != 200:
                body = b"".join(connection.pieces(response, 4096))
                raise NoAnswer("error", f"HTTP {response.status} {_said(body)}".strip())
            rest = b""
            for piece in connection.pieces(response, _MOST_BYTES):
                rest += piece
                *whole, rest = rest.split(b"\n")
                if len(rest) > _MOST_LINE:
                    raise NoAnswer("too-long", "its answer has a line without end")
                yield from whole
            if rest:
                yield rest


class _Connection:
    """One request and its answer, within a deadline."""

    def __init__(self, client: HttpClient, deadline: float) -> None:
        self._client = client
        self._deadline = deadline
        host, port = client._host, client._port
        self._http: http.client.HTTPConnection
        if client._context is not None:
            self._http = http.client.HTTPSConnection(host, port, timeout=self._left(), context=client._context)
        else:
            self._http = http.client.HTTPConnection(host, port, timeout=self._left())

    def _left(self) -> float:
        return max(0.05, self._deadline - time.monotonic())

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._http.close()
        if isinstance(error, Exception) and not isinstance(error, NoAnswer):
            raise _no_answer(error) from None

    def send(self, method: str, path: str, document: dict[str, Any] | None) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json, text/plain", "User-Agent": "gpudoctor", "Connection": "close"}
        body = None
        if document is not None:
            body = json.dumps(document).encode()
            headers["Content-Type"] = "application/json"
        if self._client._key:
            headers["Authorization"] = f"Bearer {self._client._key}"
        self._http.request(method, self._client._prefix + path, body, headers)
        self._wait()
        return self._http.getresponse()

    def pieces(self, response: http.client.HTTPResponse, most: int) -> Iterator[bytes]:
        taken = 0
        while True:
            if time.monotonic() >= self._deadline:
                raise NoAnswer("timeout", "its answer did not end in time")
            self._wait()
            piece = response.read1(1 << 16)
            if not piece:
                return
            taken += len(piece)
            if taken > most:
                raise NoAnswer("too-long", f"its answer is longer than {most >> 10} KiB")
            yield piece

    def _wait(self) -> None:
        if self._http.sock is not None:
            self._http.sock.settimeout(self._left())


def _no_answer(error: Exception) -> NoAnswer:
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoAnswer("tls", f"its certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return NoAnswer("tls", f"no TLS connection: {error.reason or 'it does not speak TLS'}")
    if isinstance(error, TimeoutError):
        return NoAnswer("timeout", "it did not answer in time")
    if isinstance(error, socket.gaierror):
        return NoAnswer("name", "the name of its host is not known here")
    if isinstance(error, ConnectionRefusedError):
        return NoAnswer("refused", "nobody listens there")
    if isinstance(error, ConnectionError | http.client.RemoteDisconnected | http.client.IncompleteRead):
        return NoAnswer("reset", "it closed the connection without a whole answer")
    if isinstance(error, http.client.HTTPException):
        return NoAnswer("reset", "what it said is not HTTP")
    return NoAnswer("error", _words(error))


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)[:200]


def _said(body: bytes) -> str:
    """Return what an engine says of its own failure; every one wraps it otherwise."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return found[:200] if isinstance(found, str) else ""
