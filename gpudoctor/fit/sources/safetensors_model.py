"""A folder of safetensors files with its config.json to a `Model`.

The root index names the files that are loaded. Without one, the root's own ``*.safetensors`` count; copies
in other forms (``original/``, ``metal/``, ``consolidated*``) never do. Files that are missing or short are
sentences in `Model.warnings`, and their bytes come from the architecture or the index.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from gpudoctor.fit.model import Model, Parts, Unusable
from gpudoctor.fit.sources.hub_names import place_of
from gpudoctor.fit.sources.inventory import Inventory, applied
from gpudoctor.fit.sources.safetensors import Entry, read_safetensors
from gpudoctor.fit.sources.strict_json import read_json

INDEX = "model.safetensors.index.json"
OLD_INDEX = "pytorch_model.bin.index.json"
"""Of checkpoints before safetensors: their sizes are used, their pickled files never opened."""
_FILES = 4096
_SHARD = re.compile(r"^(.*-)(\d{5})-of-(\d{5})(\.safetensors)$")


class Folder(NamedTuple):
    """What a folder says about its weights."""

    entries: tuple[Entry, ...]
    """Every tensor whose header could be read."""
    total_bytes: int | None
    """Announced by the index, or summed over all headers."""
    complete: bool
    """All files are there, so that `entries` are all tensors."""
    file_bytes: int
    files: tuple[str, ...]
    warnings: tuple[str, ...]


def read_folder(folder: Path) -> Folder:
    """Read the index and the headers of all files that are there; raises `Unusable` for files that are broken."""
    index = folder / INDEX
    if not index.is_file() and not any(folder.glob("*.safetensors")):
        index = folder / OLD_INDEX
    names, announced = index_of(read_json(index), str(index)) if index.is_file() else ([], None)
    warnings: list[str] = []
    if not names:
        names = sorted(
            file.name
            for file in folder.glob("*.safetensors")
            if not file.name.startswith(("consolidated", "adapter_", ".")) and file.is_file()
        )[:_FILES]
        if announced is None:
            names = _numbered(names)
    entries: list[Entry] = []
    files, size, complete = [], 0, bool(names) and not warnings
    for name in names:
        path = folder / name
        if not path.is_file():
            warnings.append(f"{name} is missing")
            complete = False
            continue
        if not name.endswith(".safetensors"):
            complete = False
            files.append(str(path))
            size += path.stat().st_size
            continue
        found = read_safetensors(path)
        if found.missing_bytes:
            warnings.append(f"{name} ends {found.missing_bytes} bytes early: an interrupted download or copy")
        entries += found.tensors
        files.append(str(path))
        size += found.file_bytes
    seen: dict[str, Entry] = {entry.name: entry for entry in entries}
    if complete:
        announced = sum(entry.size for entry in seen.values())
    return Folder(tuple(seen.values()), announced, complete, size, tuple(files), tuple(warnings[:20]))


def index_of(found: dict[str, Any], where: str) -> tuple[list[str], int | None]:
    """The files an index names and the bytes it announces; its map may be empty.

    Raises `Unusable` when it names files outside its folder.
    """
    mapping, metadata = found.get("weight_map"), found.get("metadata")
    names = sorted({name for name in mapping.values() if isinstance(name, str)}) if isinstance(mapping, dict) else []
    if len(names) > _FILES or any("/" in n or "\\" in n or n.startswith(".") or not n for n in names):
        raise Unusable("names files outside its folder, or too many", where=where)
    total: Any = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if isinstance(total, bool) or not isinstance(total, int) or not 0 < total < 1 << 50:
        total = None
    return names, total


def _numbered(names: list[str]) -> list[str]:
    """Complete a set of numbered shards without an index, so that missing ones are seen."""
    wanted = list(names)
    for name in names:
        match = _SHARD.match(name)
        if match and 0 < int(match[3]) <= _FILES:
            every = [f"{match[1]}{n:05d}-of-{match[3]}{match[4]}" for n in range(1, int(match[3]) + 1)]
            wanted += [n for n in every if n not in wanted]
    return sorted(wanted)


def inventory_of(folder: Folder, model: Model) -> Inventory:
    """Sum the folder's tensors by place, for a model of this shape."""
    real = Inventory()
    whole = model.heads * model.head_dim + model.kv_heads * (model.head_dim + model.value_head_dim)
    fused = model.kv_heads * (model.head_dim + model.value_head_dim)
    for entry in folder.entries:
        place = place_of(entry.name, len(model.layers), model.encoder_decoder)
        if place.section == "layer":
            if place.part == "fused":
                share = entry.size * fused // whole if whole else 0
                real.add(place.layer, "key_value", share)
                real.add(place.layer, "query", entry.size - share)
                continue
            real.add(place.layer, place.part, entry.size)
            if place.expert and len(entry.shape) > 1:
                real.types.setdefault("expert", entry.type_name)
        elif place.section in ("vision", "audio"):
            real.encoders[place.section] = real.encoders.get(place.section, 0) + entry.size
        elif place.section == "host":
            real.host += entry.size
        else:
            setattr(real, place.section, getattr(real, place.section) + entry.size)
            if place.section in ("embedding", "output"):
                real.types[place.section] = entry.type_name
    return real


def with_files(model: Model, folder: Folder) -> Model:
    """The model with the bytes of its files; `model` must be at the files' own quantization."""
    if folder.complete:
        real = inventory_of(folder, model)
        if model.tied_embeddings:
            real.output = 0
        model = _compared(applied(model, real), model.weights_bytes)
    elif folder.total_bytes is not None:
        model = _scaled(model, folder.total_bytes)
    return model._replace(
        file_bytes=folder.file_bytes or folder.total_bytes,
        files=(*model.files, *folder.files),
        local=folder.complete and not folder.warnings,
        warnings=(*model.warnings, *folder.warnings),
    )


def _compared(model: Model, computed: int) -> Model:
    """Say so when files and configuration cannot belong together: the arithmetic is otherwise exact."""
    if abs(model.weights_bytes - computed) * 50 <= computed:
        return model
    note = f"the files hold {model.weights_bytes} bytes where their configuration implies {computed}"
    return model._replace(unknown=(*model.unknown, note))


def _scaled(model: Model, total: int) -> Model:
    """Fit the computed bytes to an announced total when they differ: the layers take the difference."""
    computed = model.weights_bytes + model.draft_bytes
    if computed == total:
        return model
    inside = sum(layer.weights.total for layer in model.layers)
    wanted = inside + total - computed
    if not inside or wanted <= 0:
        return model._replace(unknown=(*model.unknown, f"the index announces {total} bytes, which fit no such model"))
    layers = tuple(
        layer._replace(weights=Parts(*(size * wanted // inside for size in layer.weights))) for layer in model.layers
    )
    rest = wanted - sum(layer.weights.total for layer in layers)
    note = f"where {abs(total - computed)} of the {total} bytes the index announces lie"
    return model._replace(layers=layers, final_bytes=model.final_bytes + rest, unknown=(*model.unknown, note))
