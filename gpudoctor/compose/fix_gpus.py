"""Fixes of how a service asks for its GPUs: `compose.gpu-scope`, `no-gpu-request`, `unknown-gpu` and reservations."""

from typing import Any

from gpudoctor.compose.edit_tree import Refused
from gpudoctor.compose.edits import Edit, Path
from gpudoctor.compose.fix_asks import (
    DEVICES,
    Ask,
    listed,
    literal,
    only_reservation,
    remove_variable,
    reservations,
    variables,
)
from gpudoctor.compose.tree import text_of

_CUDA, _NVIDIA = "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"
_ALL = "all"


def scope_gpus(edit: Edit, ask: Ask) -> str:
    """Give the service its GPUs by a reservation, in place of the runtime and of variables that choose."""
    service = edit.get(ask.path)
    if reservations(edit, ask):
        return _drop_variables(edit, ask)
    runtime, asked = service.get("runtime"), service.get("gpus")
    if runtime not in (None, "nvidia"):
        raise Refused(f"runtime {runtime} is not NVIDIA's: which GPUs it hands over is not known")
    if asked not in (None, _ALL):
        raise Refused("gpus asks for certain GPUs already; CUDA_VISIBLE_DEVICES counts within them")
    if runtime is None and asked is None:
        raise Refused(f"service {ask.service} asks for no GPU")
    wanted = _wanted(variables(edit, ask), ask)
    _reserve(edit, ask, wanted, after="runtime" if runtime else "gpus")
    for key in ("runtime", "gpus"):
        if key in edit.get(ask.path):
            edit.delete((*ask.path, key))
    gone = _remove(edit, ask, _CUDA, _NVIDIA)
    replaced = ", ".join((*(["runtime: nvidia"] if runtime else []), *(["gpus: all"] if asked else []), *gone))
    return f"reserve {_named(wanted)} in place of {replaced}"


def request_gpus(edit: Edit, ask: Ask) -> str:
    """Reserve GPUs for a service that asks for none: those its variables name, as many as its engine uses, else all."""
    if reservations(edit, ask) or any(key in edit.get(ask.path) for key in ("gpus", "runtime")):
        raise Refused(f"service {ask.service} asks for GPUs already")
    if ask.amd:
        return _request_amd(edit, ask)
    found = variables(edit, ask)
    wanted: Any = _wanted(found, ask)
    if wanted == _ALL:
        wanted = ask.engine_gpus or _ALL
        if others := _others(edit, ask):
            raise Refused(f"which GPUs are its own is yours to say: {', '.join(others)} asks for GPUs, too")
    _reserve(edit, ask, wanted, after="")
    _remove(edit, ask, _CUDA, _NVIDIA)
    return f"reserve {_named(wanted)}"


def _request_amd(edit: Edit, ask: Ask) -> str:
    if {"devices", "group_add"} & set(edit.get(ask.path)):
        raise Refused("it names devices or groups of its own: add /dev/kfd, /dev/dri, video and render there")
    edit.put((*ask.path, "devices"), ["/dev/kfd", "/dev/dri"])
    edit.put((*ask.path, "group_add"), ["video", "render"], after="devices")
    return "hand over /dev/kfd and /dev/dri, with the groups video and render"


def complete_reservation(edit: Edit, ask: Ask) -> str:
    """Add the capability that Compose wants of a reservation, keep one of count and device_ids, quote numbers."""
    done = []
    for path, entry in reservations(edit, ask):
        done += _complete(edit, path, entry)
    if not done:
        raise Refused("what is wrong with the request has no certain remedy")
    return "; ".join(done)


def _complete(edit: Edit, path: Path, entry: dict[str, Any]) -> list[str]:
    done = []
    ids, count = entry.get("device_ids"), entry.get("count")
    for number, each in enumerate(ids if isinstance(ids, list) else ()):
        if isinstance(each, int) and not isinstance(each, bool):
            edit.rewrite((*path, "device_ids", number), r"\A\s*(\d+)\s*\Z", r"'\1'")
            done.append(f"put GPU {each} in quotes")
    if ids and count is not None:
        if count != len(ids):
            raise Refused(f"count says {text_of(count)} and device_ids names {len(ids)}: keep what is meant")
        edit.delete((*path, "count"))
        done.append(f"remove count, which device_ids says as well ({len(ids)})")
    if "capabilities" not in entry and "deploy" in path and entry.get("driver") in (None, "nvidia", "cdi"):
        edit.put((*path, "capabilities"), ["gpu"])
        done.append("add capabilities: [gpu]")
    return done


def renumber_gpus(edit: Edit, ask: Ask) -> str:
    """Name the GPUs that exist, where the service wants as many as there are: then there is one way only."""
    path, entry = only_reservation(edit, ask)
    ids = [literal(text_of(each), "device_ids") for each in entry.get("device_ids") or ()]
    if ask.host_gpus is None:
        raise Refused("how many GPUs the machine has is not known")
    if len(set(ids)) != ask.host_gpus or len(ids) != len(set(ids)) or not all(each.isdigit() for each in ids):
        raise Refused(f"which of the machine's {ask.host_gpus} GPUs {', '.join(ids)} shall be is yours to say")
    for number in range(len(ids)):
        edit.rewrite((*path, "device_ids", number), r"\d+", str(number))
    return f"name the machine's GPUs, {', '.join(str(n) for n in range(len(ids)))}, in place of {', '.join(ids)}"


def _wanted(found: dict[str, str | None], ask: Ask) -> Any:
    """Return the ids that the variables choose, or ``all``; a reservation of what is not there stops the service."""
    wanted = _chosen(found, ask.mixed)
    there = ask.host_gpus
    # As many as there are can be numbered anew.
    if isinstance(wanted, list) and there is not None and len(wanted) != there:
        strange = [each for each in wanted if each.isdigit() and int(each) >= there]
        if strange:
            raise Refused(f"the machine has {there} GPUs and no {', '.join(strange)}: name those that are meant")
    return wanted


def _chosen(found: dict[str, str | None], mixed: bool) -> Any:
    """Return the ids that the variables choose, or ``all``: CUDA's choice counts within NVIDIA's."""
    given = _ids(found, _NVIDIA)
    chosen = _ids(found, _CUDA)
    if chosen is None or chosen == _ALL:
        return given or _ALL
    numbers = all(each.isdigit() for each in chosen)
    if mixed and numbers and found.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise Refused(f"the GPUs differ, and CUDA counts the fastest first: which are {_CUDA}={','.join(chosen)}?")
    if given in (None, _ALL):
        return chosen
    if chosen == given:
        return given
    if numbers and all(int(each) < len(given) for each in chosen):
        return [given[int(each)] for each in chosen]
    raise Refused(f"{_NVIDIA} hands over {', '.join(given)}, and {_CUDA}={','.join(chosen)} names others")


def _ids(found: dict[str, str | None], name: str) -> Any:
    if name not in found:
        return None
    value = found[name]
    if value is None:
        raise Refused(f"the shell decides {name} at start")
    parts = listed(literal(value, name))
    if parts == [_ALL]:
        return _ALL
    known = [each for each in parts if (each.isdigit() and each.isascii()) or each.startswith(("GPU-", "MIG-"))]
    if not parts or known != parts or len(set(parts)) != len(parts):
        raise Refused(f"{name}={value} names no GPUs that a reservation can name")
    # A reservation wants 0, not 00.
    return [str(int(each)) if each.isdigit() else each for each in parts]


def _reserve(edit: Edit, ask: Ask, wanted: Any, after: str) -> None:
    if edit.get((*ask.path, *DEVICES)):
        raise Refused("it reserves other devices: add the GPUs there by hand")
    chosen = {"device_ids": wanted} if isinstance(wanted, list) else {"count": wanted}
    edit.put((*ask.path, *DEVICES), [{"driver": "nvidia", **chosen, "capabilities": ["gpu"]}], after)


def _remove(edit: Edit, ask: Ask, *names: str) -> list[str]:
    found = variables(edit, ask)
    gone = [name for name in names if name in found]
    for name in gone:
        remove_variable(edit, ask, name)
    return [f"{name}={found[name]}" for name in gone]


def _drop_variables(edit: Edit, ask: Ask) -> str:
    """Remove the variables that say again, in other numbers, what the reservation says."""
    path, entry = only_reservation(edit, ask)
    found = variables(edit, ask)
    ids = [literal(text_of(each), "device_ids") for each in entry.get("device_ids") or ()]
    if not ids and entry.get("count") in (None, -1, _ALL):
        wanted = _wanted(found, ask)
        if isinstance(wanted, list):
            edit.put((*path, "device_ids"), wanted, after="count" if "count" in entry else "driver")
            if "count" in entry:
                edit.delete((*path, "count"))
    else:
        _require_agreement(found, ids or [str(n) for n in range(_number(entry.get("count")))])
    gone = _remove(edit, ask, _CUDA, _NVIDIA)
    if "runtime" in edit.get(ask.path):
        edit.delete((*ask.path, "runtime"))
        gone.append("runtime: nvidia")
    if not gone:
        raise Refused("the reservation has no rival in this file")
    return f"leave the choice to the reservation: remove {', '.join(gone)}"


def _require_agreement(found: dict[str, str | None], ids: list[str]) -> None:
    """Refuse when a variable chooses others than the reservation: CUDA counts from 0 within it."""
    within = [str(number) for number in range(len(ids))]
    for name, allowed in ((_NVIDIA, (ids,)), (_CUDA, (ids, within))):
        chosen = _ids(found, name)
        if chosen not in (None, _ALL, *allowed):
            raise Refused(f"{name}={','.join(chosen)} and the reservation differ: keep what is meant")


def _number(count: Any) -> int:
    if isinstance(count, int) and not isinstance(count, bool) and 0 < count < 1024:
        return count
    raise Refused(f"the count of the reservation is {text_of(count)}")


def _others(edit: Edit, ask: Ask) -> list[str]:
    others = [Ask(name) for name, each in edit.get(("services",)).items() if name != ask.service and each]
    return [o.service for o in others if reservations(edit, o) or {"gpus", "runtime"} & set(edit.get(o.path))]


def _named(wanted: Any) -> str:
    if isinstance(wanted, list):
        return f"GPU {wanted[0]}" if len(wanted) == 1 else f"GPUs {', '.join(wanted)}"
    return "all GPUs" if wanted == _ALL else f"{wanted} GPU{'s' if wanted > 1 else ''}"
