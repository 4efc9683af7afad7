"""The few requests of ``--live``: its own containers, looks into others; no pull, update or restart."""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import docker
import msgspec
import requests
import urllib3
from docker.constants import DEFAULT_DOCKER_API_VERSION

LABEL = "gpudoctor.live"
_MAX_ANSWER_BYTES = 8 << 20
_MAX_ERROR = 2000
#: Leftovers of a run that cannot be told to have ended (another process namespace) are left alone for so long.
_OLD_SECONDS = 900.0


class EngineError(Exception):
    """The engine refused; the message is its own text. ``status`` is HTTP's, None when it gave no answer."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text[:_MAX_ERROR])
        self.status = status


def run_id() -> str:
    """Name this run so that another one can tell whether it still goes on: process, its start, its namespace."""
    return f"{os.getpid()}.{_started(os.getpid())}.{_namespace()}"


def _started(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "0"


def _namespace() -> str:
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"


def ended(run: str, created: float) -> bool:
    """Tell whether the run of this id has ended: its process is gone, or it is too old to go on."""
    pid, _, rest = run.partition(".")
    started, _, namespace = rest.partition(".")
    if pid.isdecimal() and namespace == _namespace():
        return _started(int(pid)) != started
    return time.time() - created > _OLD_SECONDS


class LiveEngine:
    """One engine. Requests name no API version: each engine answers in the newest that it speaks."""

    def __init__(self, address: str, run: str) -> None:
        self.run = run
        # One per object: connections are not shared with a forked process.
        self._session = docker.APIClient(base_url=address, version=DEFAULT_DOCKER_API_VERSION)
        self._session.trust_env = False

    def _ask(
        self, method: str, path: str, seconds: float, body: Mapping[str, Any] | bytes | None = None,
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        archive = isinstance(body, bytes)
        try:
            with self._session.request(
                method, f"{self._session.base_url}{path}", params=dict(query or {}), stream=True, timeout=seconds,
                allow_redirects=False, data=body if archive or body is None else json.dumps(body),
                headers={"Accept-Encoding": "identity",
                         "Content-Type": "application/x-tar" if archive else "application/json"},
            ) as response:  # fmt: skip
                return self._body(response, time.monotonic() + seconds)
        except EngineError:
            raise
        except requests.exceptions.Timeout:
            raise TimeoutError(f"no answer to {path.rpartition('/')[2]} within {seconds:g} s") from None
        except (TimeoutError, urllib3.exceptions.ReadTimeoutError):
            # The engine sends its headers at once and the body at the container's end.
            raise TimeoutError(f"no end of the answer to {path.rpartition('/')[2]} within {seconds:g} s") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise EngineError(f"the engine broke off: {type(error).__name__}: {error}") from None

    def _body(self, response: Any, deadline: float) -> bytes:
        data = bytearray()
        while piece := response.raw.read1(1 << 16) if hasattr(response.raw, "read1") else response.raw.read(1 << 16):
            data += piece
            if len(data) > _MAX_ANSWER_BYTES:
                raise EngineError(f"the engine's answer is larger than {_MAX_ANSWER_BYTES >> 20} MiB")
            if time.monotonic() > deadline:
                raise TimeoutError("the answer did not end in time")
        if response.status_code >= 300:
            raise EngineError(_message(bytes(data)), response.status_code)
        return bytes(data)

    def get(self, path: str, seconds: float = 10, **query: str) -> Any:
        """Return the decoded answer to a question."""
        return _decoded(self._ask("GET", path, seconds, query=query))

    def version(self) -> str | None:
        """Return the engine's version."""
        found = self.get("/version")
        return str(found.get("Version"))[:100] if isinstance(found, dict) else None

    def create(self, config: Mapping[str, Any], seconds: float) -> str:
        """Create a container of this run; nothing is pulled for it. Return its id."""
        labelled = {**config, "Labels": {LABEL: self.run}}
        found = _decoded(self._ask("POST", "/containers/create", seconds, labelled))
        return str(found["Id"])

    def put(self, container: str, folder: str, archive: bytes, seconds: float) -> None:
        """Unpack a tar archive in one of its folders; nothing may run in it yet."""
        self._ask("PUT", f"/containers/{container}/archive", seconds, archive, {"path": folder})

    def start(self, container: str, seconds: float) -> None:
        """Start it."""
        self._ask("POST", f"/containers/{container}/start", seconds)

    def wait(self, container: str, seconds: float) -> int:
        """Return its exit code when it ended."""
        found = _decoded(self._ask("POST", f"/containers/{container}/wait", seconds))
        return int(found["StatusCode"])

    def logs(self, container: str, seconds: float = 10) -> bytes:
        """Return what it wrote, standard output and error as they came."""
        both = {"stdout": "1", "stderr": "1"}
        return demultiplexed(self._ask("GET", f"/containers/{container}/logs", seconds, query=both))

    def look(
        self, container: str, command: list[str], variables: list[str], seconds: float
    ) -> tuple[int | None, bytes]:
        """Run a command in a running container; return its exit code and what it wrote."""
        wish = {"AttachStdout": True, "AttachStderr": True, "Cmd": command, "Env": variables}
        found = _decoded(self._ask("POST", f"/containers/{container}/exec", seconds, wish))
        said = self._ask("POST", f"/exec/{found['Id']}/start", seconds, {"Detach": False, "Tty": False})
        ended = self.get(f"/exec/{found['Id']}/json")
        code = ended.get("ExitCode")
        return code if isinstance(code, int) else None, demultiplexed(said)

    def remove(self, container: str, seconds: float = 20) -> None:
        """Remove a container of ours, running or not, with the volumes that its image made."""
        try:
            self._ask("DELETE", f"/containers/{container}", seconds, query={"force": "1", "v": "1"})
        except EngineError as error:
            # 404: gone. 409: another run, or the guardian of a killed one, is removing it.
            if error.status not in (404, 409):
                raise

    def ours(self, run: str | None = None) -> list[tuple[str, str, float]]:
        """Return (id, run, time of creation) of the containers with our label."""
        wanted = json.dumps({"label": [LABEL if run is None else f"{LABEL}={run}"]})
        found = self.get("/containers/json", all="1", filters=wanted)
        listed = []
        for each in found if isinstance(found, list) else []:
            labels = each.get("Labels") or {}
            if LABEL in labels:
                listed.append((str(each["Id"]), str(labels[LABEL]), float(each.get("Created") or 0)))
        return listed

    def remove_leftovers(self) -> int:
        """Remove what killed runs left behind, by their label alone; return how many there were."""
        leftovers = [found for found in self.ours() if found[1] != self.run and ended(found[1], found[2])]
        for container, _, _ in leftovers:
            self.remove(container)
        return len(leftovers)


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        raise EngineError("the engine's answer is no JSON") from None


def _message(data: bytes) -> str:
    with contextlib.suppress(msgspec.DecodeError, RecursionError, AttributeError):
        return str(msgspec.json.decode(data).get("message"))
    return data.decode("utf-8", "replace")[:_MAX_ERROR] or "no reason given"


def demultiplexed(data: bytes) -> bytes:
    """Take the frame headers out of the engine's stream: one byte for the stream, the length in the last four."""
    found, place = bytearray(), 0
    while place + 8 <= len(data) and data[place] in (0, 1, 2) and data[place + 1 : place + 4] == b"\0\0\0":
        length = int.from_bytes(data[place + 4 : place + 8], "big")
        found += data[place + 8 : place + 8 + length]
        place += 8 + length
    return bytes(found) if place else data
