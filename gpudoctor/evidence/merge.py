"""Several pieces of one paste about one machine: joined field by field, the first word on a thing counts."""

from typing import Any, TypeVar

import msgspec

from gpudoctor.facts.base import NOT_RECORDED, Unavailable
from gpudoctor.facts.docker import Container, Containers
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.serving import Endpoint, ServedModel, Serving
from gpudoctor.facts.signatures import NOT_PASTED

_MAX_MODELS, _MAX_ENDPOINTS, _MAX_CONTAINERS = 256, 64, 4096
_S = TypeVar("_S", bound=msgspec.Struct)


def joined(first: _S, second: _S) -> _S:
    """Return ``first`` with what only ``second`` knows."""
    changes: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(first)):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        if field.name == "gpus" and isinstance(first, Gpus):
            changes["gpus"] = _gpus(ours, theirs)
        elif field.name == "endpoints" and isinstance(first, Serving):
            changes["endpoints"] = _endpoints(ours, theirs)
        elif field.name == "containers" and isinstance(first, Containers):
            changes["containers"] = _containers(ours, theirs)
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


def _endpoints(first: tuple[Endpoint, ...], second: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Join by address; a model that is in memory and on disk is one."""
    found = {each.url: each for each in first}
    for each in second:
        known = found.get(each.url)
        if known is None:
            found[each.url] = each
            continue
        models = {model.name: model for model in known.models}
        for model in each.models:
            other = models.get(model.name)
            models[model.name] = model if other is None else _model(other, model)
        found[each.url] = msgspec.structs.replace(known, models=tuple(models.values())[:_MAX_MODELS])
    return tuple(found.values())[:_MAX_ENDPOINTS]


def _containers(first: tuple[Container, ...], second: tuple[Container, ...]) -> tuple[Container, ...]:
    """Join by name; of two words on one container that counts which tells all of it."""
    found = {each.name: each for each in first}
    for each in second:
        known = found.get(each.name)
        if known is None or (known.failure is not None and each.failure is None):
            found[each.name] = each
    return tuple(found.values())[:_MAX_CONTAINERS]


def _model(first: ServedModel, second: ServedModel) -> ServedModel:
    return msgspec.structs.replace(joined(first, second), loaded=first.loaded or second.loaded)


def _same(first: Gpu, second: Gpu) -> bool:
    for name in ("pci_address", "uuid"):
        ours, theirs = getattr(first, name), getattr(second, name)
        if isinstance(ours, str) and isinstance(theirs, str):
            return bool(ours == theirs)
    return first.index == second.index
