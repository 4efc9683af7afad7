"""A model at work, put beside what ``fit`` says of it on this machine: memory, room, speed."""

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpu, GpuProcess, Gpus
from gpudoctor.facts.host import Memory
from gpudoctor.facts.serving import Endpoint, ServedModel
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.fit.settings import version_tuple
from gpudoctor.judging.engine_flags import number, read_flags

if TYPE_CHECKING:
    from gpudoctor.fit.model import Model
    from gpudoctor.fit.question import Answer

#: More than a CUDA context of any card, less than the smallest model worth serving.
_BARE_CONTEXT_BYTES = 1 << 30
#: Engines whose memory and speed fit knows.
_KNOWN = frozenset({"ollama", "vllm", "sglang", "tgi", "llama.cpp"})


class Held(NamedTuple):
    """What an endpoint's processes hold of one GPU; bytes are None where the driver hides them."""

    gpu: int
    bytes_: int | None
    processes: tuple[str, ...]


def held(endpoint: Endpoint, gpus: Gpus) -> tuple[Held, ...]:
    """Return the GPUs on which the endpoint has processes, by NVML's lists."""
    found = []
    for gpu in gpus.answering:
        own = own_processes(endpoint, gpu)
        if own:
            sizes = [each.used_bytes for each in own]
            total = None if None in sizes else sum(size or 0 for size in sizes)
            found.append(Held(gpu.index, total, tuple(f"{each.name or '?'} ({each.pid})" for each in own)))
    return tuple(found)


def working(parts: tuple[Held, ...]) -> tuple[Held, ...]:
    """Leave out GPUs on which an engine has opened no more than a context: nothing of a model lies there."""
    large = tuple(part for part in parts if part.bytes_ is None or part.bytes_ >= _BARE_CONTEXT_BYTES)
    return large or parts


def own_processes(endpoint: Endpoint, gpu: Gpu) -> tuple[GpuProcess, ...]:
    """Return the processes on a GPU that belong to an endpoint: beneath its server, or in its container."""
    if isinstance(gpu.processes, Unavailable):
        return ()
    return tuple(
        each for each in gpu.processes
        if each.pid in endpoint.pids or (endpoint.container_id is not None and each.container == endpoint.container_id)
    )  # fmt: skip


def settings_of(endpoint: Endpoint, containers: Containers | Unavailable) -> dict[str, str]:
    """Return its flags: of its process, else of its container's command."""
    if endpoint.settings or isinstance(containers, Unavailable) or endpoint.container is None:
        return endpoint.settings
    container = containers.named(endpoint.container)
    return read_flags(container.command) if container is not None else {}


def variables_of(endpoint: Endpoint, containers: Containers | Unavailable) -> dict[str, str] | None:
    """Return its environment: of its process, else of its container; None when neither can be seen."""
    if not isinstance(endpoint.environment, Unavailable):
        return endpoint.environment.values
    if isinstance(containers, Unavailable) or endpoint.container is None:
        return None
    container = containers.named(endpoint.container)
    return container.environment if container is not None else None


def slots_of(endpoint: Endpoint, containers: Containers | Unavailable) -> int | None:
    """Return how many requests it serves at once, None when that is not known."""
    if endpoint.slots is not None:
        return endpoint.slots
    settings = settings_of(endpoint, containers)
    found = number(settings, "parallel") or number(settings, "max_num_seqs")
    if found is not None or endpoint.engine != "ollama":
        return found
    variables = variables_of(endpoint, containers)
    if variables is None:
        return None
    set_ = number(variables, "OLLAMA_NUM_PARALLEL")
    # Before 0.11 it chose by the memory that was free; since then it is one.
    return set_ or (1 if (version_tuple(endpoint.version) or (0,)) >= (0, 11) else None)


class Machine(NamedTuple):
    """The sections that a prediction rests on."""

    gpus: Gpus | Unavailable
    memory: Memory | Unavailable
    driver: Driver | Unavailable
    containers: Containers | Unavailable


def predicted(
    endpoint: Endpoint, model: ServedModel, machine: Machine, **changes: int | None
) -> "Answer | Unavailable":
    """Return what fit says of this model with these settings, were the endpoint not there yet.

    The GPUs are those on which the endpoint runs (all, when none is known); what it holds counts as free, what others
    hold does not. ``changes`` replace settings: ``parallel=5``.
    """
    if endpoint.engine not in _KNOWN:
        return Unavailable(f"fit knows no engine {endpoint.engine}", "not-applicable")
    if not endpoint.local or isinstance(machine.gpus, Unavailable) or not machine.gpus.answering:
        return Unavailable("no GPU of that machine is known", "not-applicable")
    from gpudoctor.fit.answer import answer
    from gpudoctor.fit.machine import hardware_of
    from gpudoctor.fit.model import Unusable
    from gpudoctor.fit.question import Question
    from gpudoctor.fit.settings import Settings

    known = _found(endpoint, model)
    if known is None:
        return Unavailable(f"fit's catalogue does not know {model.name}", "not-applicable")
    flags = settings_of(endpoint, machine.containers)
    here = working(held(endpoint, machine.gpus))
    if endpoint.origin == "paste" and not here and any(_occupied(gpu) for gpu in machine.gpus.answering):
        return Unavailable("whose memory it is that is in use is not in what you pasted", "not-asked")
    try:
        hardware = hardware_of(
            msgspec.structs.replace(Snapshot(), gpus=machine.gpus, memory=machine.memory, driver=machine.driver),
            [each.gpu for each in here] or None,
        )
        own = {each.gpu: each.bytes_ or 0 for each in here}
        gpus = tuple(gpu._replace(free_bytes=min(gpu.usable_bytes, gpu.free_bytes + own.get(gpu.number, 0)))
                     for gpu in hardware.gpus)
        share = flags.get("gpu_memory_utilization", "")
        settings = Settings(
            engine=endpoint.engine,
            version=_version(endpoint),
            context=changes.get("context", model.context),
            parallel=changes.get("parallel", slots_of(endpoint, machine.containers) if _slotted(endpoint) else None),
            max_num_seqs=number(flags, "max_num_seqs"),
            tensor_parallel=number(flags, "tensor_parallel"),
            pipeline_parallel=number(flags, "pipeline_parallel"),
            gpu_memory_utilization=float(share) if share.replace(".", "", 1).isdigit() else None,
            kv_cache_type=_kv_type(endpoint, flags, machine.containers),
            enforce_eager="enforce_eager" in flags,
        )
        return answer(Question(known, settings, hardware._replace(gpus=gpus)), advise=False)
    except Unusable as problem:
        return Unavailable(problem.message, "not-applicable")


def _occupied(gpu: Gpu) -> bool:
    return isinstance(gpu.memory_used_bytes, int) and gpu.memory_used_bytes >= _BARE_CONTEXT_BYTES


def file_bytes(endpoint: Endpoint, model: ServedModel) -> int | None:
    """Return what a start has to read: the engine's word, else the weights that fit's catalogue knows."""
    if model.file_bytes is not None:
        return model.file_bytes
    found = _found(endpoint, model)
    return found.weights_bytes if found is not None else None


def _found(endpoint: Endpoint, model: ServedModel) -> "Model | None":
    for name in dict.fromkeys((model.path or "", model.name, _file_name(model.path))):
        known = _catalogued(name, endpoint.engine or "")
        if known is not None:
            return known
    return None


def _slotted(endpoint: Endpoint) -> bool:
    """True where a slot has its own part of the KV cache; the others share one pool."""
    return endpoint.engine in ("ollama", "llama.cpp")


def _version(endpoint: Endpoint) -> str | None:
    from gpudoctor.fit.newest import newest

    return endpoint.version or newest(endpoint.engine or "")


def _kv_type(endpoint: Endpoint, flags: dict[str, str], containers: Containers | Unavailable) -> str | None:
    if "kv_cache_type" in flags and flags["kv_cache_type"] != "auto":
        return flags["kv_cache_type"]
    variables = variables_of(endpoint, containers) if endpoint.engine == "ollama" else None
    return (variables or {}).get("OLLAMA_KV_CACHE_TYPE") or None


def _file_name(path: str | None) -> str:
    """``/models/Qwen3-8B-Q4_K_M.gguf`` names its model, too."""
    return (path or "").rpartition("/")[2].removesuffix(".gguf")


def _catalogued(name: str, engine: str) -> "Model | None":
    from gpudoctor.fit.model import Unusable
    from gpudoctor.fit.sources.names import parse
    from gpudoctor.fit.sources.resolve import from_catalogue

    parsed = parse(name) if name else None
    if parsed is None:
        return None
    try:
        return from_catalogue(parsed, None, None, "gguf" if engine in ("ollama", "llama.cpp") else "safetensors")
    except Unusable:
        return None
