"""Taking names out of a snapshot: serials, UUIDs, host and user names become numbered stand-ins."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from gpudoctor.facts.snapshot import Snapshot

_UUID = re.compile(r"(?:GPU-|MIG-)?[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_ADDRESS = re.compile(r"\b(?!127\.|0\.0\.0\.0)(?:\d{1,3}\.){3}\d{1,3}\b")
_MAC = re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b")
_HOME = re.compile(r"(/home/|/Users/)[^/\s:]+")
_NAMED = ("serial", "hostname", "user_name", "user", "boot_id", "container")
#: Fields whose dotted numbers are versions, not network addresses.
_VERSIONS = ("version", "vbios", "release", "path", "driver", "name", "kernel")


class _Names:
    """Gives the same stand-in to the same value, so that a redacted snapshot still tells GPUs apart."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def stand_in(self, kind: str) -> Callable[[re.Match[str]], str]:
        return lambda match: self.name(kind, match.group())

    def name(self, kind: str, value: str) -> str:
        count = sum(k == kind for k, _ in self._known)
        return self._known.setdefault((kind, value), f"{kind}-{count}")


def redact(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot without serials, UUIDs, host and user names, network and hardware addresses."""
    names = _Names()
    raw = msgspec.to_builtins(snapshot)
    secrets = {
        value
        for value in _strings_named(raw, ("hostname", "user_name"))
        if len(value) > 2 and value not in ("root", "localhost")
    }
    return msgspec.convert({**_walk(raw, "", names, secrets), "redacted": True}, Snapshot)


def _strings_named(value: Any, wanted: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= {inner} if key in wanted and isinstance(inner, str) else _strings_named(inner, wanted)
    elif isinstance(value, list | tuple):
        for inner in value:
            found |= _strings_named(inner, wanted)
    return found


def _walk(value: Any, key: str, names: _Names, secrets: set[str]) -> Any:
    if isinstance(value, dict):
        return {k: _walk(v, k, names, secrets) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(v, key, names, secrets) for v in value]
    if not isinstance(value, str) or key in ("status", "schema"):
        return value
    if key in _NAMED:
        return names.name(key.replace("_", "-"), value) if value else value
    value = _UUID.sub(names.stand_in("uuid"), value)
    value = _MAC.sub(names.stand_in("mac"), value)
    if not any(word in key for word in _VERSIONS):
        value = _ADDRESS.sub(names.stand_in("address"), value)
    value = _HOME.sub(lambda m: m.group(1) + names.name("user", m.group()), value)
    for secret in secrets:
        value = re.sub(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", names.name("name", secret), value)
    return value
