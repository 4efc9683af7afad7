"""Several pieces of one paste about one machine: joined field by field, the first word on a thing counts."""

from typing import Any, TypeVar

import msgspec

from gpudoctor.facts.base import NOT_RECORDED, Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.signatures import NOT_PASTED

_S = TypeVar("_S", bound=msgspec.Struct)


def joined(first: _S, second: _S) -> _S:
    """Return ``first`` with what only ``second`` knows."""
    changes: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(first)):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        if field.name == "gpus" and isinstance(first, Gpus):
            changes["gpus"] = _gpus(ours, theirs)
        elif _silent(ours, field) and not _silent(theirs, field):
            changes[field.name] = theirs
        elif isinstance(ours, msgspec.Struct) and type(ours) is type(theirs) and not isinstance(ours, Unavailable):
            changes[field.name] = joined(ours, theirs)
        elif isinstance(ours, dict) and isinstance(theirs, dict):
            changes[field.name] = {**theirs, **ours}
    return msgspec.structs.replace(first, **changes)


def pasted(value: Any) -> Any:
    """Return facts in which what was not told reads as not pasted."""
    if value == NOT_RECORDED:
        return NOT_PASTED
    if isinstance(value, tuple):
        return tuple(pasted(each) for each in value)
    if isinstance(value, Unavailable) or not isinstance(value, msgspec.Struct):
        return value
    changes = {f.name: pasted(getattr(value, f.name)) for f in msgspec.structs.fields(type(value))}
    return msgspec.structs.replace(value, **changes)


def _silent(value: Any, field: Any) -> bool:
    if isinstance(value, Unavailable):
        return True
    return field.default is not msgspec.NODEFAULT and value == field.default


def _gpus(first: tuple[Gpu, ...], second: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """Join by address, by UUID, or else by number."""
    found = {gpu.index: gpu for gpu in first}
    for gpu in second:
        same = next((known for known in found.values() if _same(known, gpu)), None)
        if same is not None:
            found[same.index] = joined(same, gpu)
        elif gpu.index not in found:
            found[gpu.index] = gpu
        # Two cards of one number: the pieces are about two machines, and the first one counts.
    return tuple(found[index] for index in sorted(found))


def _same(first: Gpu, second: Gpu) -> bool:
    for name in ("pci_address", "uuid"):
        ours, theirs = getattr(first, name), getattr(second, name)
        if isinstance(ours, str) and isinstance(theirs, str):
            return bool(ours == theirs)
    return first.index == second.index
