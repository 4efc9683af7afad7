"""What a composed service will hold on each of its GPUs, by fit's arithmetic, every GPU taken as idle."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.fit.compose_service import Service as Asked
from gpudoctor.fit.model import Unusable

#: Engines that take a share of the whole memory, whatever the model.
_SHARED = ("vllm", "sglang")


class Load(NamedTuple):
    """Bytes by GPU index: what the engine will take, and the least that serves. ``share`` is of a whole GPU.

    ``known``: the bytes are what it will take. ``problem``: why nothing is known though a model is named. ``layers``:
    how many lie on GPUs, and all, where that is fewer.
    """

    bytes: dict[int, int]
    least: dict[int, int]
    words: str
    verdict: str | None = None
    model: str | None = None
    share: float | None = None
    host_bytes: int | None = None
    known: bool = True
    problem: str | None = None
    layers: tuple[int, int] | None = None


def load_of(asked: Asked, gpus: Sequence[int], machine: Snapshot) -> Load:
    """Judge a service on the GPUs that it gets, as if nobody else used them."""
    from gpudoctor.fit.answer import answer
    from gpudoctor.fit.asking import question
    from gpudoctor.fit.machine import hardware_of

    settings = asked.settings
    try:
        hardware = hardware_of(machine, gpus)
    except Unusable as problem:
        return Load({}, {}, problem.message, known=False, problem=problem.message)
    idle = hardware._replace(gpus=tuple(gpu._replace(free_bytes=gpu.usable_bytes, holders=()) for gpu in hardware.gpus))
    share = settings.gpu_memory_utilization or (default_share(settings.version) if settings.engine == "vllm" else None)
    rough = {gpu.number: round(gpu.usable_bytes * share) for gpu in idle.gpus} if share else {}
    if asked.model is None:
        words = f"{share:g} of the memory" if share else "its users name the models"
        return Load(rough, {}, words, share=share, known=bool(share))
    if asked.model.startswith("/") and not Path(asked.model).exists():
        words = f"{share:g} of the memory" if share else "a model in the container"
        return Load(rough, {}, words, share=share, known=bool(share))
    try:
        told = answer(question(asked.model, settings, idle), advise=False).prediction
    except Unusable as problem:
        words = f"{share:g} of the memory" if share else problem.message
        return Load(rough, {}, words, model=asked.model, share=share, known=bool(share), problem=problem.message)
    # Needs come in the order of the GPUs asked for.
    pairs = list(zip((gpu.number for gpu in idle.gpus), told.gpus, strict=False))
    taken = {number: need.total or need.least or 0 for number, need in pairs}
    share = told.settings.gpu_memory_utilization if settings.engine in _SHARED else None
    biggest = max(taken.values(), default=0)
    words = f"{biggest / 2**30:.1f} GiB" + (f" (share {share:g})" if share else "")
    layers = (told.layers_on_gpu or 0, told.layers_total) if told.layers_total is not None else None
    return Load(taken, {number: need.least or 0 for number, need in pairs}, words, told.verdict, asked.model, share,
                told.host_bytes, layers=layers)


def fitting_context(asked: Asked, gpus: Sequence[int], machine: Snapshot, model: str) -> int:
    """Return the longest context in tokens with which a model fits on a service's GPUs, taken as idle; 0 for none.

    Raises:
        Unusable: No such model, or no such GPUs.
    """
    from gpudoctor.fit.asking import question
    from gpudoctor.fit.limits import largest_context
    from gpudoctor.fit.machine import hardware_of

    hardware = hardware_of(machine, gpus)
    idle = hardware._replace(gpus=tuple(gpu._replace(free_bytes=gpu.usable_bytes, holders=()) for gpu in hardware.gpus))
    return largest_context(question(model, asked.settings, idle))


def default_share(version: str | None) -> float:
    """Return vLLM's share of a GPU when nothing is said: 0.92 since CUDA graphs count inside it, 0.9 before."""
    from gpudoctor.fit.engines.vllm import GRAPHS_INSIDE
    from gpudoctor.fit.settings import version_tuple

    have = version_tuple(version)
    return 0.92 if have is None or have >= GRAPHS_INSIDE else 0.9
