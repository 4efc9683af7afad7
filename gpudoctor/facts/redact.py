"""Taking names out of a snapshot: serials, UUIDs, host and user names become numbered stand-ins."""

import ipaddress
import re
from collections.abc import Callable
from typing import Any

import msgspec

from gpudoctor.facts.redact_containers import hide_containers
from gpudoctor.facts.snapshot import Snapshot

_UUID = re.compile(r"(?:GPU-|MIG-)?[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_ADDRESS = re.compile(r"\b(?!127\.|0\.0\.0\.0)(?:\d{1,3}\.){3}\d{1,3}\b")
#: Candidates only: what is no IPv6 address (a PCI address, a time of day) is left alone.
_ADDRESS6 = re.compile(r"(?<![\w:.])[0-9a-fA-F:]*:[0-9a-fA-F:]*:[0-9a-fA-F:]*(?![\w:])")
#: The server of a network file system: nas.example:/models, //nas/models.
_SERVER = re.compile(r"^(//)?([^/:\s]+)(?=(?(1)/|:/))")
_MAC = re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b")
_CONTAINER_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
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
    hide_containers(raw, names.name)
    walked = {**_walk(raw, "", names, secrets), "redacted": True}
    if "container" in raw["host"]:
        # Of the host it is the kind of container, which checks need, and no name.
        walked["host"]["container"] = raw["host"]["container"]
    return msgspec.convert(walked, Snapshot)


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
    value = _CONTAINER_ID.sub(names.stand_in("id"), value)
    value = _UUID.sub(names.stand_in("uuid"), value)
    value = _MAC.sub(names.stand_in("mac"), value)
    if not any(word in key for word in _VERSIONS):
        value = _ADDRESS.sub(names.stand_in("address"), value)
    value = _HOME.sub(lambda m: m.group(1) + names.name("user", m.group()), value)
    if not any(word in key for word in _VERSIONS):
        stand_in = names.stand_in("address")
        value = _ADDRESS6.sub(lambda m: stand_in(m) if _is_address(m.group()) else m.group(), value)
    if key == "device":
        value = _SERVER.sub(lambda m: (m.group(1) or "") + names.name("server", m.group(2)), value)
    # A value that is the name as a whole is a word of ours: a host may be called "compute", a user "ubuntu".
    for secret in secrets - {value}:
        # With the domain that may follow a host's name.
        pattern = rf"(?<![\w-]){re.escape(secret)}(?:\.[a-zA-Z][\w-]*(?:\.[a-zA-Z][\w-]*)*)?(?![\w-])"
        value = re.sub(pattern, names.name("name", secret), value)
    return value


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
