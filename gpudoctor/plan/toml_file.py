"""The plan's own file: ``[[service]]`` tables in TOML, and the machine they are for. Hostile input: all is bounded."""

import importlib
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gpudoctor.facts.compose import Place
from gpudoctor.fit.model import Unusable
from gpudoctor.fit.settings import ENGINES, Settings, size, tokens
from gpudoctor.matrices import service_kinds
from gpudoctor.plan.service import MOST_SERVICES, Service

_MOST_BYTES = 1 << 20
_MOST_MEMORY = 1 << 50
_MACHINE = ("hardware", "driver", "link")
#: Whole numbers with the largest that means anything.
_COUNTS = {"parallel": 65536, "tensor_parallel": 1024, "pipeline_parallel": 1024, "max_num_seqs": 65536,
           "max_num_batched_tokens": 2**20, "gpu_layers": 100000}
_TEXTS = ("name", "engine", "version", "model", "kind", "quant", "kv_cache_type", "memory")
_KEYS = (*_TEXTS, *_COUNTS, "models", "context", "gpus", "utilization", "enforce_eager", "after", "max_loaded")


class PlanFile(NamedTuple):
    """The services, and the machine's GPUs by name where the file says so."""

    services: tuple[Service, ...]
    machine: dict[str, str]


def read(name: str) -> PlanFile:
    """Read a plan's file.

    Raises:
        Unusable: It cannot be read, or something in it is not what it must be; with file and service.
    """
    try:
        with Path(name).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Unusable(f"cannot read: {getattr(error, 'strerror', None) or error}", where=name) from None
    if len(data) > _MOST_BYTES:
        raise Unusable(f"it is larger than {_MOST_BYTES >> 20} MiB", where=name, hint="a plan has a few services")
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        text = data.decode()
        content: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"no TOML: {str(error)[:200]}", where=name,
                       hint='write [[service]] with name = "..." and model = "..."') from None
    _no_others(content, ("service", "machine"), name)
    rows = content.get("service")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise Unusable("it has no [[service]]", where=name, hint='write [[service]] with name = "..."')
    if len(rows) > MOST_SERVICES:
        raise Unusable(f"it has {len(rows)} services", where=name, hint=f"one machine runs at most {MOST_SERVICES}")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*service\s*\]\]", line)]
    places = [Place(file=name, line=line) for line in lines] if len(lines) == len(rows) else []
    services = tuple(
        _service(row, name, number, places[number] if places else Place(file=name, line=1))
        for number, row in enumerate(rows)
    )
    return PlanFile(services, _machine(content.get("machine", {}), name))


def _machine(table: object, name: str) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise Unusable("[machine] must be a table of texts", where=name, hint='hardware = "4x Quadro RTX 8000"')
    _no_others(table, _MACHINE, f"{name}: [machine]")
    return dict(table)


def _no_others(table: Mapping[str, object], known: Collection[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise Unusable(f"{key[:40]!r} is not known", where=where, hint=f"there are {', '.join(known)}")


def _service(row: dict[str, Any], file: str, number: int, place: Place) -> Service:
    called = row.get("name")
    if not isinstance(called, str) or not called.strip() or len(called) > 100:
        raise Unusable(f"service {number + 1} has no name", where=f"{file}:{place.line}", hint='name = "chat"')
    where = f"{file}:{place.line}: service {called[:60]}"
    _no_others(row, _KEYS, where)
    for key in _TEXTS:
        if key in row and (not isinstance(row[key], str) or not 0 < len(row[key]) <= 512):
            raise Unusable(f"{key} must be a text", where=where)
    engine, kind = _engine(row.get("engine"), row.get("kind"), where)
    models = _names(row, "models", where) or ((row["model"],) if "model" in row else ())
    if "models" in row and "model" in row:
        raise Unusable("model and models are both given", where=where, hint="keep one")
    if len(models) > 1 and engine not in (None, "ollama"):
        raise Unusable(f"{engine or kind} serves one model", where=where, hint='several are for engine = "ollama"')
    memory = _memory(row["memory"], where) if "memory" in row else None
    if not models and memory is None and kind is None and engine is None:
        raise Unusable("nothing says how large it is", where=where, hint='give model, kind or memory = "8GiB"')
    if len(models) > 1:
        engine = "ollama"
    service = Service(
        called, place, engine=engine, kind=kind, models=models, settings=_settings(row, engine, where),
        memory_bytes=memory, written=_gpus(row, where), pinned="gpus" in row, after=_names(row, "after", where),
        max_loaded=_count(row, "max_loaded", 1024, where), strict=True,
    )  # fmt: skip
    if memory is not None:
        return service
    if kind is not None and service_kinds.kind(kind).batch_tokens is None:  # type: ignore[union-attr]
        return _sized_kind(service, where)
    return service


def _sized_kind(service: Service, where: str) -> Service:
    row = service_kinds.kind(service.kind or "")
    model = service.models[0] if service.models else row.default_model if row else None
    known = ", ".join(service_kinds.models(service.kind or ""))
    if model is None:
        return service._replace(problem=f"its model is not named, of {known}")
    if service_kinds.size(service.kind or "", model) is None:
        raise Unusable(f"the memory of {model[:60]!r} as {service.kind} is not known", where=where,
                       hint=f'known are {known}; or give memory = "8GiB"')
    return service._replace(models=(model,))


def _engine(engine: str | None, kind: str | None, where: str) -> tuple[str | None, str | None]:
    kinds = tuple(row.name for row in service_kinds.table().kinds)
    if engine is not None and engine not in ENGINES:
        raise Unusable(f"{engine[:40]!r} is no engine", where=where, hint=f"one of {', '.join(ENGINES)}")
    if kind is not None and kind not in kinds:
        raise Unusable(f"{kind[:40]!r} is no kind of service", where=where, hint=f"one of {', '.join(kinds)}")
    if engine is not None and kind is not None:
        raise Unusable("engine and kind are both given", where=where, hint="keep one")
    return engine, kind


def _names(row: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = row.get(key, [])
    good = isinstance(value, list) and len(value) <= 64 and all(isinstance(v, str) and 0 < len(v) <= 512 for v in value)
    if not good:
        raise Unusable(f"{key} must be a list of names", where=where)
    return tuple(value)


def _gpus(row: dict[str, Any], where: str) -> tuple[int, ...] | None:
    value = row.get("gpus")
    if value is None:
        return None
    good = isinstance(value, list) and 0 < len(value) <= 1024 and all(
        type(n) is int and 0 <= n < 1024 for n in value) and len(set(value)) == len(value)
    if not good:
        raise Unusable("gpus must be a list of different GPU indices", where=where, hint="gpus = [0, 1]")
    return tuple(value)


def _memory(text: str, where: str) -> int:
    try:
        found = size(text)
    except Unusable as problem:
        raise Unusable(problem.message, where=where, hint=problem.hint) from None
    if not 0 < found <= _MOST_MEMORY:
        raise Unusable(f"{text[:40]!r} is no memory of a GPU", where=where, hint='memory = "8GiB"')
    return found


def _count(row: dict[str, Any], key: str, most: int, where: str) -> int | None:
    value = row.get(key)
    if value is None:
        return None
    least = 0 if key == "gpu_layers" else 1
    if type(value) is not int or not least <= value <= most:
        raise Unusable(f"{key} must be a whole number from {least} to {most}", where=where)
    return value


def _settings(row: dict[str, Any], engine: str | None, where: str) -> Settings:
    context = row.get("context")
    if context is not None:
        if type(context) not in (int, str):
            raise Unusable("context must be a number of tokens", where=where, hint="context = 32768")
        try:
            context = tokens(str(context))
        except Unusable as problem:
            raise Unusable(problem.message, where=where, hint=problem.hint) from None
    share = row.get("utilization")
    if share is not None and (type(share) not in (int, float) or not 0.01 <= share <= 1):
        raise Unusable("utilization must be a share from 0.01 to 1", where=where, hint="utilization = 0.9")
    eager = row.get("enforce_eager", False)
    if type(eager) is not bool:
        raise Unusable("enforce_eager must be true or false", where=where)
    counts: dict[str, Any] = {key: _count(row, key, most, where) for key, most in _COUNTS.items()}
    return Settings(
        engine=engine, version=row.get("version"), quant=row.get("quant"), context=context,
        kv_cache_type=row.get("kv_cache_type"), gpu_memory_utilization=float(share) if share is not None else None,
        enforce_eager=eager, **counts,
    )  # fmt: skip
