"""Where Ollama puts layers when it only estimates: the dealing of 0.12.10 and older, the packing of 0.12.11 to 0.29."""

from gpudoctor.fit.engines import llama_buffers as buffers
from gpudoctor.fit.engines.ollama_graph import Guess, guess, vision_graph
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.model import Model
from gpudoctor.fit.placement import Layout, contiguous, deal_in_turn, pack_on_fewest, placed
from gpudoctor.fit.settings import MIB, Settings, Version

#: Memory that Ollama keeps free on every CUDA device it uses.
MINIMUM_BYTES = 457 * MIB
#: From this release on the layout of Ollama's own engine is used for models of the llama.cpp runner, too.
PACKED = (0, 12, 11)


def estimated_layout(model: Model, settings: Settings, hardware: Hardware, version: Version) -> tuple[Layout, int]:
    """Return the layout and the graph in bytes that the estimate sets aside on each GPU used."""
    context, parallel, batch = settings.context or 0, settings.parallel or 1, settings.batch or 512
    guessed = guess(
        model, context, parallel, min(batch, context * parallel), settings.kv_cache_type or "f16",
        flash=bool(settings.flash_attention), version=version,
    )  # fmt: skip
    sizes = [layer.weights.total + cache for layer, cache in zip(model.layers, guessed.cache, strict=True)]
    place = _packed if version >= PACKED else _dealt
    layout = place(model, settings, hardware, version, guessed, sizes)
    return layout, guessed.full if placed(layout) > len(sizes) else guessed.partial


def _separate_bytes(model: Model) -> int:
    return sum(encoder.weights_bytes for encoder in model.encoders if encoder.separate_file)


def _dealt(
    model: Model, settings: Settings, hardware: Hardware, version: Version, guessed: Guess, sizes: list[int]
) -> Layout:
    """One GPU when it holds all, else all GPUs in turn (llm/memory.go, server/sched.go)."""
    separate = _separate_bytes(model)
    inside = model.encoder_bytes - separate
    output = buffers.output_bytes(model) + inside + (vision_graph(model) if inside else 0)

    def layout_on(chosen: list[int]) -> Layout:
        full = guessed.partial if len(chosen) > 1 else guessed.full
        room = [hardware.gpus[i].free_bytes for i in chosen]
        if room:
            room[0] -= separate
        found = deal_in_turn(
            sizes, output, room, buffer=sizes[0] if sizes else 0, reserve=max(guessed.partial, full) + MINIMUM_BYTES,
            newest_first=version >= (0, 7), requested=settings.gpu_layers,
        )  # fmt: skip
        return contiguous([None if slot is None else chosen[slot] for slot in found], chosen)

    wanted = len(sizes) + 1 if settings.gpu_layers is None else min(settings.gpu_layers, len(sizes) + 1)
    by_room = sorted(range(len(hardware.gpus)), key=lambda i: -hardware.gpus[i].free_bytes)
    subsets = [[i] for i in by_room]
    if version >= (0, 11, 5):
        subsets = [by_room[:count] for count in range(1, len(by_room))]
    layout = next((found for found in map(layout_on, subsets) if placed(found) >= wanted), None)
    if layout is None:
        layout = layout_on(by_room)
        if placed(layout) < wanted:
            layout = layout_on(list(range(len(hardware.gpus))))
    return layout


def _packed(
    model: Model, settings: Settings, hardware: Hardware, version: Version, guessed: Guess, sizes: list[int]
) -> Layout:
    """Pack without graphs, charge the graph to the GPUs that were used, and pack again (llamaServer.Load)."""
    units = [*sizes, buffers.output_bytes(model) + model.encoder_bytes - _separate_bytes(model)]
    room = [gpu.free_bytes - MINIMUM_BYTES - (sizes[0] if sizes else 0) for gpu in hardware.gpus]
    if room:
        room[0] -= _separate_bytes(model)
    graph = max(guessed.partial, guessed.full)
    charged: set[int] = set()
    while True:
        left = [max(free - (graph if i in charged else 0), 0) for i, free in enumerate(room)]
        layout = pack_on_fewest(units, left, settings.gpu_layers, at_least=len(charged))
        used = {slot for slot in layout if slot is not None}
        if len(used) <= len(charged):
            return layout
        charged |= used
