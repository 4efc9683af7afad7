"""Asking a container engine through its socket: reading only, one bounded JSON answer at a time."""

from collections.abc import Iterator
from typing import Any

import docker
import msgspec
import requests
from docker.constants import DEFAULT_DOCKER_API_VERSION

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


class EngineClient:
    """A connection to one engine of this machine.

    Requests name no API version: every engine then answers in the newest that it speaks.
    """

    def __init__(self, address: str) -> None:
        try:
            self._session = docker.APIClient(base_url=address, version=DEFAULT_DOCKER_API_VERSION, timeout=_SECONDS)
        except (docker.errors.DockerException, OSError, ValueError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}"[:300]) from None
        # No proxy: the engine is on this machine.
        self._session.trust_env = False

    def get(self, path: str, **parameters: str) -> Any:
        """Return the decoded answer to ``GET path``.

        Raises:
            NoAnswer: No connection, an error of the engine, no JSON, or more than 32 MiB of it.
        """
        status, kind, data = self._bytes(path, parameters)
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
            status, _, data = self._bytes(path, parameters)
            return msgspec.json.Decoder().decode_lines(data) if status == 200 else []
        except (NoAnswer, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []

    def pieces(self, path: str, **parameters: str) -> Iterator[bytes]:
        """Yield an answer that is no JSON as it comes; who reads it bounds it.

        Raises:
            NoAnswer: No connection, or an error of the engine, with its words.
        """
        try:
            with self._session.get(
                f"{self._session.base_url}{path}", params=parameters, stream=True, timeout=_SECONDS,
                allow_redirects=False, headers={"Accept-Encoding": "identity"},
            ) as response:
                if response.status_code != 200:
                    said = (_body(response) or b"")[:300].decode("utf-8", "replace")
                    raise NoAnswer(f"the engine answers {response.status_code}: {said.strip()}", response.status_code)
                while piece := response.raw.read(_PIECE):
                    yield piece
        except (requests.RequestException, OSError, ValueError) as error:
            raise NoAnswer(f"the engine broke off: {_short(error)}") from None

    def _bytes(self, path: str, parameters: dict[str, str]) -> tuple[int, str, bytes]:
        try:
            with self._session.get(
                f"{self._session.base_url}{path}",
                params=parameters,
                stream=True,
                timeout=_SECONDS,
                # A redirection could lead to another machine.
                allow_redirects=False,
                headers={"Accept-Encoding": "identity"},
            ) as response:
                status, kind = response.status_code, response.headers.get("Content-Type", "")
                data = _body(response)
        except (requests.RequestException, OSError, ValueError) as error:
            raise NoAnswer(f"the engine broke off: {_short(error)}") from None
        except Exception as error:
            # urllib3's own errors while the answer is read; their names differ between its releases.
            raise NoAnswer(f"the engine broke off: {_short(error)}") from None
        if data is None:
            raise NoAnswer(f"the answer to {path} is larger than {MAX_ANSWER_BYTES >> 20} MiB", status)
        return status, kind, data


def _body(response: Any) -> bytes | None:
    data = bytearray()
    while piece := response.raw.read(_PIECE, decode_content=False):
        data += piece
        if len(data) > MAX_ANSWER_BYTES:
            return None
    return bytes(data)


def _short(error: Exception) -> str:
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    return f"{type(error).__name__}: {error}"[:200]
