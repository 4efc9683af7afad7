"""What lies under the folders that composed services mount: owners and modes, never contents."""

import os
import stat
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from gpudoctor.facts.base import Reason, Unavailable
from gpudoctor.facts.compose import Compose, ComposeProject, HostFile, MountSource, Volume
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("compose_mounts",)
OPTIONS = ("paths",)
_MAX_PATHS = 64
_MAX_KINDS = 32
_MAX_ENTRIES = 500


def probe(out: Reporter, root: Root, paths: Sequence[str] = ()) -> None:
    """Look at each path; a dead network file system costs that one."""
    out.set("compose_mounts", sources=[])
    for path in paths[:_MAX_PATHS]:
        if out.left_out(path):
            continue
        placeholder = MountSource(path=path, exists=True)
        out.start(path, doing="stat", section="compose_mounts", field="sources", placeholder=placeholder)
        out.append("compose_mounts", "sources", _source(path))


def _source(path: str) -> MountSource:
    try:
        first = _file(path, os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return MountSource(path=path, exists=False)
    except (OSError, ValueError) as error:
        return MountSource(path=path, exists=True, failure=str(getattr(error, "strerror", None) or error))
    kinds: dict[tuple[int, int, int, bool], HostFile] = {}
    for file in islice(_inside(path, 2), _MAX_ENTRIES) if first.folder else ():
        kinds.setdefault((file.uid, file.gid, file.mode, file.folder), file)
        if len(kinds) == _MAX_KINDS:
            break
    return MountSource(path=path, exists=True, files=(first, *kinds.values()))


def _inside(folder: str, depth: int) -> Iterator[HostFile]:
    below: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, _MAX_ENTRIES):
                try:
                    file = _file(entry.path, entry.stat())
                except OSError:
                    continue
                yield file
                if file.folder and not entry.is_symlink():
                    below.append(entry.path)
    except OSError:
        return
    if depth > 1:
        for name in below:
            yield from _inside(name, depth - 1)


def _file(path: str, status: os.stat_result) -> HostFile:
    return HostFile(path=path, uid=status.st_uid, gid=status.st_gid, mode=status.st_mode & 0o777,
                    folder=stat.S_ISDIR(status.st_mode))


def with_mounts(compose: Compose, timeout: float = 5.0) -> Compose:
    """Return the projects with what this machine has under their bind mounts."""
    from gpudoctor.probes.runner import ProbeSpec, run_probes

    paths = tuple(dict.fromkeys(v.source for s in compose.services for v in s.volumes
                                if v.kind == "bind" and v.source))
    if not paths:
        return compose
    spec = ProbeSpec(name="mounts", modules=("compose_mounts",), sections=SECTIONS, patience=2.0)
    answer = run_probes([spec], timeout=timeout, options={"paths": list(paths)})[0]
    raw: list[Any] = answer.sections.get("compose_mounts", {}).get("sources") or []
    found = {source.path: source for source in msgspec.convert(raw, list[MountSource])}
    reason, kind = answer.missing.get("compose_mounts", ("it was not looked at", "error"))

    def seen(volume: Volume) -> Volume:
        if volume.kind != "bind" or not volume.source:
            return volume
        state = found.get(volume.source)
        gap: Reason = kind if state is None else "timeout"  # type: ignore[assignment]
        if state is None or state.failure is not None:
            return msgspec.structs.replace(volume, on_host=Unavailable(state.failure or "" if state else reason, gap))
        return msgspec.structs.replace(volume, on_host=state)

    def looked(project: ComposeProject) -> ComposeProject:
        services = (msgspec.structs.replace(s, volumes=tuple(map(seen, s.volumes))) for s in project.services)
        return msgspec.structs.replace(project, services=tuple(services))

    return msgspec.structs.replace(compose, projects=tuple(map(looked, compose.projects)))
