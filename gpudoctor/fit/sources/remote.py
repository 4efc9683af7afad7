"""Small reads over HTTPS: a few documents and the first bytes of large files, never the files.

Every read is bounded in bytes and time; an answer that breaks off is taken up where it broke off. The
token goes to the host it was asked for and to no other, however it redirects.
"""

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import IO, Any

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources.window import Window

_PIECE = 1 << 16
_TRIES = 3


class NotThere(Exception):
    """The server has no such document."""


class Refused(Exception):
    """The server wants an account, a token or accepted terms."""


class _KeepToken(urllib.request.HTTPRedirectHandler):
    """Follow redirects, without the token when they lead to another host or away from HTTPS."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None:
            old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
            if new.scheme != "https" and old.scheme == "https":
                raise Unusable("a server redirects away from HTTPS", where=old.netloc)
            if (old.scheme, old.netloc) != (new.scheme, new.netloc):
                made.remove_header("Authorization")
        return made


class Client:
    """Reads for one question: all of them together end at a deadline."""

    def __init__(self, *, seconds: float = 60.0, timeout: float = 15.0, token: str | None = None) -> None:
        self._end = time.monotonic() + seconds
        self._timeout = timeout
        self._token = token
        self._opener = urllib.request.build_opener(_KeepToken)

    def document(self, url: str, largest: int, headers: Mapping[str, str] | None = None) -> bytes:
        """A whole small document; raises `NotThere`, `Refused` or `Unusable`."""
        data, total = self._read(url, 0, largest + 1, dict(headers or {}), whole=True)
        if len(data) > largest or (total or 0) > largest:
            raise Unusable(f"more than {largest} bytes for a small document", where=_shown(url))
        return data

    def window(self, url: str, headers: Mapping[str, str] | None = None, chunk: int = 1 << 21) -> Window:
        """A window on a remote file, read by ranges as it moves on; raises like `document`."""
        kept = dict(headers or {})
        first, total = self._read(url, 0, chunk, kept)
        if total is None:
            raise Unusable("the server does not say how large the file is", where=_shown(url))

        def fetch(offset: int, count: int) -> bytes:
            if offset + count <= len(first):
                return first[offset : offset + count]
            return self._read(url, offset, count, kept)[0]

        return Window(fetch, total, _shown(url), chunk)

    def _read(
        self, url: str, offset: int, count: int, headers: dict[str, str], whole: bool = False
    ) -> tuple[bytes, int | None]:
        """Up to `count` bytes from `offset`, and the size of the whole; short only at its end."""
        data, total, problem = b"", None, "no answer"
        for _ in range(_TRIES):
            if time.monotonic() > self._end:
                break
            try:
                part, total = self._once(url, offset + len(data), count - len(data), headers, whole)
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                problem = _why(error)
                continue
            data += part
            wanted = count if total is None else max(0, min(count, total - offset))
            if len(data) >= wanted or (whole and total is None):
                return data, total
            problem = "the answer breaks off"
            if whole:
                data = b""
        raise Unusable(f"cannot be reached: {problem}", where=_shown(url), hint="try again, or give a local file")

    def _once(
        self, url: str, offset: int, count: int, headers: dict[str, str], whole: bool
    ) -> tuple[bytes, int | None]:
        request = urllib.request.Request(url, headers={"User-Agent": "gpudoctor", **headers})
        if not whole:
            request.add_header("Range", f"bytes={offset}-{offset + count - 1}")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            answer = self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (401, 403):
                raise Refused(_shown(url)) from None
            if error.code in (404, 410):
                raise NotThere(_shown(url)) from None
            raise Unusable(f"the server answers {error.code}", where=_shown(url)) from None
        with answer:
            total = _total(answer.headers.get("Content-Range"), answer.headers.get("Content-Length"), answer.status)
            if answer.status != 206 and offset and not whole:
                raise Unusable("the server does not serve parts of files", where=_shown(url))
            data = bytearray()
            while len(data) < count and time.monotonic() < self._end:
                piece = answer.read(min(_PIECE, count - len(data)))
                if not piece:
                    break
                data += piece
            return bytes(data), total


def _total(content_range: str | None, content_length: str | None, status: int) -> int | None:
    text = (content_range or "").rpartition("/")[2] if status == 206 else content_length
    return int(text) if text and text.isdecimal() and len(text) < 16 else None


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return (str(reason) if reason else str(error) or type(error).__name__).replace("\n", " ")[:120]


def _shown(url: str) -> str:
    """The address without its query, where a signature could stand."""
    return url.partition("?")[0]
