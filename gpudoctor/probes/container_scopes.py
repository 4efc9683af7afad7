"""What systemd knows of running containers: the devices their scopes allow, and when it last loaded its units anew."""

import contextlib
import datetime
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes.command import CommandMissing, run
from gpudoctor.probes.root import Root

_BATCH = 200
_MAX_ALLOWED = 4096
_MAX_RELOADS = 512
#: PID 1's own words, which changed with its releases: "Reloading.", "Reloading requested from client PID 1187", "Reload
#: requested …"; "Reloading finished in 134 ms" ends the same event.
_RELOADED = re.compile(r"Re(?:loading(?! finished)|load requested|executing|execution requested)\b")
_NOT_ALLOWED = ("insufficient permissions", "not seeing messages from other users")


def manages(root: Root) -> bool:
    """True where systemd runs this machine and can be asked."""
    return root.live and root.exists("/run/systemd/system")


def device_allow(scopes: Sequence[str]) -> dict[str, tuple[str, ...] | Unavailable]:
    """Return ``DeviceAllow`` of each scope, asked in as few calls of systemctl as possible."""
    found: dict[str, tuple[str, ...] | Unavailable] = {}
    for start in range(0, len(scopes), _BATCH):
        asked = scopes[start : start + _BATCH]
        try:
            code, output, errors = run(
                "systemctl", "show", "--no-pager", "--property=LoadState,DevicePolicy,DeviceAllow", "--", *asked
            )
        except CommandMissing:
            return {scope: Unavailable("systemctl is not installed", "not-applicable") for scope in scopes}
        blocks = parse_device_allow(output)
        if len(blocks) != len(asked):
            said = (errors.strip().splitlines() or [f"it ended with code {code}"])[-1][:200]
            found |= dict.fromkeys(asked, Unavailable(f"systemctl did not answer: {said}"))
            continue
        found |= dict(zip(asked, blocks, strict=True))
    return found


def parse_device_allow(text: str) -> list[tuple[str, ...] | Unavailable]:
    """Read the blocks of ``systemctl show``: one line for each device that a scope allows."""
    return [_block(block) for block in text.strip("\n").split("\n\n") if block.strip()]


def _block(text: str) -> tuple[str, ...] | Unavailable:
    pairs = [line.partition("=")[::2] for line in text.splitlines()]
    fields = dict(pairs)
    if fields.get("LoadState", "loaded") != "loaded":
        return Unavailable("systemd knows no scope of this container")
    allowed = tuple(device for name, value in pairs if name == "DeviceAllow" and (device := _opened(value)))
    if not allowed and fields.get("DevicePolicy", "auto") == "auto":
        return ("*",)
    return allowed[:_MAX_ALLOWED]


def _opened(rule: str) -> str | None:
    """Return the device of ``/dev/char/195:0 rw``; None for ``char-* m``, which every scope has: make, not open."""
    device, _, rights = rule.strip().partition(" ")
    return device[:200] if not rights or {"r", "w"} <= set(rights) else None


def reloads(since: str) -> tuple[str, ...] | Unavailable:
    """Return when systemd loaded its units anew since a time (ISO 8601 UTC), from the journal, oldest first."""
    asked = ("--no-pager", "--output", "json", "--output-fields", "MESSAGE", "_PID=1")
    after = ("--reverse", "--since", f"{since.replace('T', ' ').removesuffix('Z')} UTC")
    try:
        code, output, errors = run("journalctl", *asked, *after, "--grep", "^Re(load|exec)", "--lines", "1024")
        if code and "pattern matching" in errors:
            # A journalctl built without PCRE2 cannot search: the newest lines must do.
            _, output, errors = run("journalctl", *asked, *after, "--lines", "20000")
        found = tuple(sorted({when for line in output.splitlines() for when in _times(line) if _is_reload(line)}))
        if found:
            return found[-_MAX_RELOADS:]
        # Nothing found says something only where the journal reaches that far back.
        _, output, errors = run("journalctl", *asked, limit=4096)
    except CommandMissing:
        return Unavailable("journalctl is not installed", "not-applicable")
    if any(words in errors for words in _NOT_ALLOWED):
        return Unavailable("no permission to read the system's journal", "no-permission")
    first = next(iter(_times(output.partition("\n")[0])), None)
    if first is None:
        return Unavailable("the journal holds no word of systemd's", "not-supported")
    return () if first <= since else Unavailable(f"the journal begins only at {first}", "not-supported")


def _is_reload(line: str) -> bool:
    message = _entry(line).get("MESSAGE")
    return isinstance(message, str) and _RELOADED.match(message) is not None


def _times(line: str) -> Iterator[str]:
    with contextlib.suppress(KeyError, TypeError, ValueError):
        micro = int(_entry(line)["__REALTIME_TIMESTAMP"])
        if 0 < micro < 1 << 53:
            stamp = datetime.datetime.fromtimestamp(micro // 1_000_000, datetime.timezone.utc)
            yield stamp.strftime("%Y-%m-%dT%H:%M:%SZ")


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}
