"""Sets of files: shards that count themselves, and the index that names every shard and its tensors."""

import os
import re
from collections.abc import Collection
from pathlib import Path

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources.safetensors import read_safetensors
from gpudoctor.fit.sources.strict_json import read_json
from gpudoctor.verify.jobs import Plan

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.(?:safetensors|gguf|bin))")
_MOST_SHARDS = 4096


def add_sets(plan: Plan, folder: str, names: Collection[str]) -> None:
    """Note what is missing of the sets in a folder."""
    sets: dict[tuple[str, str, str], set[int]] = {}
    for name in names:
        if found := _SHARD.fullmatch(name):
            sets.setdefault((found[1], found[3], found[4]), set()).add(int(found[2]))
    for (base, count, ending), numbers in sorted(sets.items()):
        wanted = min(int(count), _MOST_SHARDS)
        for number in sorted(set(range(1, wanted + 1)) - numbers):
            path = os.path.join(folder, f"{base}-{number:05}-of-{count}{ending}")
            plan.note(path, "missing", kind="shard", model=True, by="the names of the other shards")
    for name in sorted(names):
        if name.endswith((".safetensors.index.json", ".bin.index.json")):
            _index(plan, folder, name)


def _index(plan: Plan, folder: str, name: str) -> None:
    path = os.path.join(folder, name)
    try:
        mapping = read_json(Path(path)).get("weight_map")
    except Unusable as error:
        outcome = "unreadable" if "cannot be read" in error.message else "broken"
        plan.note(path, outcome, error.message, kind="index", model=True)  # type: ignore[arg-type]
        return
    if not isinstance(mapping, dict) or not all(isinstance(file, str) for file in mapping.values()):
        plan.note(path, "broken", "it has no weight_map", kind="index", model=True)
        return
    tensors: dict[str, set[str]] = {}
    for tensor, file in mapping.items():
        tensors.setdefault(file, set()).add(tensor)
    for file, wanted in sorted(tensors.items()):
        shard = os.path.join(folder, file)
        if "/" in file or "\0" in file or file in ("", ".", ".."):
            plan.note(path, "broken", f"it names a file outside its folder: {file[:80]}", kind="index", model=True)
        elif not os.path.lexists(shard):
            plan.note(shard, "missing", kind="shard", model=True, by=name)
        elif file.endswith(".safetensors"):
            _tensors(plan, shard, wanted, name)


def _tensors(plan: Plan, shard: str, wanted: set[str], index: str) -> None:
    try:
        held = {each.name for each in read_safetensors(Path(shard)).tensors}
    except Unusable:
        # The shard's own job says what is wrong with it.
        return
    if absent := len(wanted - held):
        plan.note(shard, "broken", f"it lacks {absent} of the tensors that {index} names", kind="shard", model=True)
