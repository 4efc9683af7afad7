"""JSON inside a paste: where a document ends, and whose it is by its keys."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from gpudoctor.evidence import dcgm, docker_files, docker_info, docker_inspect, own_report
from gpudoctor.evidence.blocks import Kind, Reading, Unread

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_PLAIN = re.compile(r"[\s{}\[\]:,\d.eE+\-a-z]*")
_MAX_DEPTH = 64
#: What only daemon.json has, as the first key or after another.
_DAEMON = re.compile(
    r'\A\s*\{\s*"(?:runtimes|default-runtime|exec-opts|data-root|log-driver|log-opts|features|cdi-spec-dirs|storage-driver|'
    r'registry-mirrors|insecure-registries|default-shm-size|live-restore)"\s*:'
)
#: Key of the outermost object, or of the first in a list -> its name in messages and its reader.
_READERS: tuple[tuple[tuple[str, ...], str, Callable[[Any, int], Reading | None]], ...] = (
    (('"gpudoctor.report/',), "report of gpudoctor", own_report.report),
    (('"gpudoctor.snapshot/',), "snapshot of gpudoctor", own_report.snapshot),
    (('"Created"', '"State"', '"Path"'), "docker inspect", docker_inspect.read),
    (('"ServerVersion"', '"CgroupDriver"'), "docker info", docker_info.from_json),
    (('"Server"', '"ApiVersion"'), "docker version", docker_info.version_json),
    (('"DCGM ',), "dcgmi diag", dcgm.read),
    (('"cdiVersion"',), "CDI specification", docker_files.cdi),
)


class Balanced:
    """A document that ends where its brackets close; a line that cannot be JSON breaks it off."""

    def __init__(self) -> None:
        self.complete = False
        self._depth = 0

    def takes(self, line: str) -> bool:
        """Count the brackets outside of texts."""
        bare = _STRING.sub("", line)
        if _PLAIN.fullmatch(bare) is None:
            return False
        self._depth += bare.count("{") + bare.count("[") - bare.count("}") - bare.count("]")
        self.complete = self._depth <= 0
        return self._depth <= _MAX_DEPTH


def read(text: str, line: int, file: str) -> Reading | None:
    """Read a document of a kind that is known, None for any other JSON.

    Raises:
        Unread: It is of a known kind, and damaged.
    """
    if _DAEMON.search(text) is not None:
        return docker_files.daemon(text)
    found = next(((name, reader) for keys, name, reader in _READERS if all(key in text for key in keys)), None)
    if found is None:
        return None
    name, reader = found
    try:
        told = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unread(f"the JSON of {name} breaks off or is damaged") from None
    if _too_deep(told):
        raise Unread(f"the JSON of {name} is nested too deep")
    reading = reader(told, line)
    if reading is None or reading.name is not None:
        return reading
    return msgspec.structs.replace(reading, name=name.replace(" ", "-"))


def is_one(data: bytes) -> bool:
    """Tell whether a file is one JSON document and nothing else."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _too_deep(value: Any, depth: int = 0) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > _MAX_DEPTH or any(_too_deep(each, depth + 1) for each in inner)


KIND = Kind(
    name="json",
    begins=r'\s{0,8}(?:\{\s*(?:"|$)|\[\s*(?:\{|$))',
    extent=Balanced,
    read=read,
    words=("hostconfig", "serverversion", "dcgm gpu diagnostic", "gpudoctor.report/"),
)
