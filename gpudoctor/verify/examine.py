"""One file: opened once, looked at from the cheapest side, and read to its end where a checksum is wanted."""

import os
import stat
from collections.abc import Mapping

import msgspec

from gpudoctor.facts.files import CheckedFile
from gpudoctor.verify import archives, wheels
from gpudoctor.verify.digest import Tick, digests
from gpudoctor.verify.jobs import Job, shown, weighty
from gpudoctor.verify.structure import structure_problem

#: What an own checksum is called in a report, so that a later run knows that this was compared.
INSIDE = "inside"


def examine(job: Job, known: CheckedFile | None, also: frozenset[str], tick: Tick) -> CheckedFile:
    """Compare one file with what it should be.

    Args:
        job: The file.
        known: What a former report says of it; it counts only while length, time and inode are the same.
        also: Algorithms to compute besides (for a list that is to be written).
        tick: Told of bytes read; what it raises ends the reading.
    """
    found = CheckedFile(path=shown(job.path), outcome="no-checksum", kind=job.kind, model=job.model)
    try:
        handle = os.open(job.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return _changed(found, outcome="missing", by=_by(job))
    except OSError as error:
        return _changed(found, outcome="unreadable", problem=error.strerror or str(error))
    except ValueError:
        return _changed(found, outcome="refused", problem="its name holds a null byte")
    try:
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            return _changed(found, outcome="unreadable", problem="it is no regular file")
        found = _changed(
            found, size_bytes=before.st_size, modified_ns=before.st_mtime_ns, inode=before.st_ino
        )
        same = known is not None and (known.size_bytes, known.modified_ns, known.inode) == (
            found.size_bytes, found.modified_ns, found.inode)  # fmt: skip
        judged = _judge(job, found, known.digests if same and known is not None else {}, handle, also, tick)
        after = os.fstat(handle)
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            return _changed(found, outcome="unreadable", problem="it changed while it was read")
        return judged
    except OSError as error:
        return _changed(found, outcome="unreadable", problem=error.strerror or str(error))
    finally:
        os.close(handle)


def _by(job: Job) -> str:
    return next((each.by for each in job.expected), job.size_by or job.allowed_by)


def _judge(
    job: Job, found: CheckedFile, earlier: Mapping[str, str], handle: int, also: frozenset[str], tick: Tick
) -> CheckedFile:
    size = found.size_bytes or 0
    if job.size is not None and job.size != size:
        return _changed(found, outcome="broken", problem=f"it has {size} of {job.size} bytes", by=job.size_by)
    if problem := structure_problem(job.path, job.kind):
        return _changed(found, outcome="broken", problem=problem, by="its own header")
    wanted = job.algorithms() | also
    computed = {name: earlier[name] for name in wanted if name in earlier}
    taken = bool(earlier) and len(computed) == len(wanted)
    if rest := wanted - set(computed):
        computed |= digests(handle, size, rest, tick)
    found = _changed(found, digests=computed, earlier=taken)
    for each in job.expected:
        if computed[each.algorithm] != each.digest:
            return _changed(found, outcome="broken", by=each.by, expected={each.algorithm: each.digest})
    if job.allowed and not any(computed[name] == digest for name, digest in job.allowed):
        return _changed(found, outcome="broken", by=job.allowed_by, expected=dict(job.allowed))
    if job.expected or job.allowed:
        return _changed(found, outcome="verified", by=_by(job))
    return _own_checksums(job, found, earlier, handle, tick)


def _own_checksums(
    job: Job, found: CheckedFile, earlier: Mapping[str, str], handle: int, tick: Tick
) -> CheckedFile:
    """Compare with checksums inside the file, where nothing outside is known."""
    if job.inside and earlier.get(INSIDE):
        return _changed(found, outcome="verified", by=earlier[INSIDE], earlier=True,
                        digests={**found.digests, INSIDE: earlier[INSIDE]})  # fmt: skip
    if job.inside:
        os.lseek(handle, 0, os.SEEK_SET)
        if job.inside == "wheel":
            seen = wheels.look_inside(job.path, handle, tick)
        else:
            seen = archives.look_inside(handle, job.inside, tick)
        found = _changed(found, kind=seen.kind or found.kind, earlier=False)
        if seen.unreadable:
            return _changed(found, outcome="unreadable", problem=seen.unreadable)
        if seen.problem:
            return _changed(found, outcome="broken", problem=seen.problem)
        if seen.by:
            return _changed(found, outcome="verified", by=seen.by, digests={**found.digests, INSIDE: seen.by})
    small = not (job.named or weighty(job.path) or job.kind in ("safetensors", "gguf", "torch", "tar", "gzip", "zstd"))
    return _changed(found, outcome="no-checksum", problem="small" if small else "", earlier=False)


def _changed(found: CheckedFile, **changes: object) -> CheckedFile:
    changed: CheckedFile = msgspec.structs.replace(found, **changes)
    return changed
