"""CDI specifications on disk (JSON or YAML): device names, driver version, and host paths that are gone."""

import datetime
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import CdiSpec
from gpudoctor.probes.regular_file import names_in, open_regular, real_path
from gpudoctor.probes.root import Root

FOLDERS = ("/etc/cdi", "/var/run/cdi")
#: A node with 16 GPUs in MIG slices has about 300 kB.
_MAX_BYTES = 4 << 20
#: Eight GPUs in seven slices each take about 10 000; YAML is read a thousand times slower than JSON.
_MAX_YAML_EVENTS = 60_000
_MAX_SPECS = 128
_MAX_DEPTH = 12
_LIBRARY = re.compile(r"/lib(?:cuda|cudadebugger|nvidia-[\w-]+|nvcuvid|nvoptix)\.so\.(\d{3,4}(?:\.\d{1,4}){1,3})$")


def read_specs(root: Root, more_folders: Iterable[str] = ()) -> tuple[CdiSpec, ...] | Unavailable:
    """Read every specification in the folders that engines read; a link to a folder counts once."""
    found: list[CdiSpec] = []
    refused: list[str] = []
    for folder in _folders(root, more_folders):
        if not _may_list(root, folder):
            refused.append(folder)
        for name in names_in(root, folder, 1000):
            if name.endswith((".yaml", ".yml", ".json")) and not name.startswith(".") and len(found) < _MAX_SPECS:
                found.append(read_spec(root, f"{folder}/{name}"))
    if refused and not found:
        return Unavailable(f"no permission to list {', '.join(refused)}"[:300], "no-permission")
    return tuple(found)


def _folders(root: Root, more: Iterable[str]) -> list[str]:
    found: dict[str, str] = {}
    for folder in [*FOLDERS, *more][:64]:
        if folder.startswith("/"):
            found.setdefault(real_path(root, folder), folder.rstrip("/") or "/")
    return list(found.values())


def _may_list(root: Root, folder: str) -> bool:
    try:
        root.list(folder)
    except PermissionError:
        return False
    return True


def read_spec(root: Root, path: str) -> CdiSpec:
    """Read one specification; one that no engine could read carries the failure."""
    try:
        with open_regular(root, path) as file:
            if file.size > _MAX_BYTES:
                return CdiSpec(path=path, failure=f"larger than {_MAX_BYTES >> 20} MiB: not read")
            data = file.read(0, _MAX_BYTES)
        changed = changed_of(root, path)
    except PermissionError:
        return CdiSpec(path=path, failure="no permission to read it")
    except OSError as error:
        return CdiSpec(path=path, failure=error.strerror or str(error))
    try:
        value = _json(data) if path.endswith(".json") else _yaml(data)
        return _spec(root, path, value, changed)
    except _Broken as error:
        return CdiSpec(path=path, changed=changed, failure=str(error)[:300])


class _Broken(Exception):
    """No CDI specification; the message says where, when that is known."""


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        at = re.search(r"byte (\d+)", str(error))
        line = f"line {data.count(10, 0, int(at[1])) + 1}: " if at else ""
        raise _Broken(f"{line}no JSON: {error}") from None


def _yaml(data: bytes) -> Any:
    """Build plain values from YAML's events: bounded, and without aliases, which NVIDIA's tools never write."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if data.lstrip()[:1] == b"{":
        return _json(data)
    try:
        return _from_events(YAML(typ="safe").parse(data.decode("utf-8")))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise _Broken(f"{line}no YAML: {getattr(error, 'problem', None) or 'it cannot be read'}") from None
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise _Broken("no YAML: it is no text, or nested too deeply") from None


def _from_events(events: Iterable[Any]) -> Any:
    stack: list[Any] = []
    keys: list[Any] = []
    result: Any = None
    for count, event in enumerate(events):
        kind = type(event).__name__
        if count > _MAX_YAML_EVENTS or len(stack) > _MAX_DEPTH:
            raise _Broken("larger or deeper than any CDI specification")
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            raise _Broken(f"line {event.start_mark.line + 1}: anchors and aliases are not read")
        if kind in ("MappingEndEvent", "SequenceEndEvent"):
            value = stack.pop()
            keys.pop()
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            stack.append({} if kind == "MappingStartEvent" else [])
            keys.append(None)
            continue
        elif kind == "ScalarEvent":
            value = event.value
        else:
            continue
        if not stack:
            result = value
        elif isinstance(stack[-1], list):
            stack[-1].append(value)
        elif keys[-1] is None:
            keys[-1] = value if isinstance(value, str) else repr(type(value))
        else:
            stack[-1][keys[-1]], keys[-1] = value, None
    return result


def _spec(root: Root, path: str, value: Any, changed: str | Unavailable) -> CdiSpec:
    if not isinstance(value, dict):
        raise _Broken("it holds no CDI specification: no mapping at its top")
    kind, version = value.get("kind"), value.get("cdiVersion")
    if not isinstance(kind, str) or "/" not in kind:
        raise _Broken("it holds no CDI specification: no kind (vendor/class)")
    devices = [each for each in _list(value.get("devices")) if isinstance(each, dict)]
    names = [str(each["name"])[:256] for each in devices if isinstance(each.get("name"), str | int)]
    paths = dict.fromkeys(_host_paths(value, devices))
    versions = {match[1]: None for each in paths if (match := _LIBRARY.search(each))}
    return CdiSpec(
        path=path,
        version=str(version)[:32] if version is not None else None,
        kind=kind[:256],
        devices=tuple(names[:4096]),
        library_versions=tuple(versions)[:64],
        missing=tuple(each[:1024] for each in paths if _gone(root, each))[:256],
        changed=changed,
    )


def _host_paths(spec: dict[str, Any], devices: Iterable[dict[str, Any]]) -> Iterator[str]:
    for holder in (spec, *devices):
        edits = holder.get("containerEdits")
        if not isinstance(edits, dict):
            continue
        for field, keys in (("deviceNodes", ("hostPath", "path")), ("mounts", ("hostPath",)), ("hooks", ("path",))):
            for each in _list(edits.get(field)):
                path = next((each[key] for key in keys if isinstance(each, dict) and each.get(key)), None)
                if isinstance(path, str) and path.startswith("/") and "\0" not in path:
                    yield path


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _gone(root: Root, path: str) -> bool:
    try:
        os.stat(root.path(path))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def changed_of(root: Root, path: str, *, arrived: bool = False) -> str | Unavailable:
    """Return when a file's content last changed, or with ``arrived`` when it came here, ISO 8601 UTC.

    A package keeps the time at which its files were built: only the kernel's change time says when they arrived.
    """
    status = root.stat(path)
    if status is None:
        return Unavailable(f"{path} cannot be looked at")
    seconds = max(0, min(status.st_ctime if arrived else status.st_mtime, 1 << 33))
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
