"""Which layer goes to which GPU: the rules of llama.cpp and of Ollama's three estimators, without any engine."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

#: What each layer lies on: an index into the list of GPUs, or None for the CPU. The last entry is the output.
Layout = list[int | None]


def split_by_weight(units: int, weights: Sequence[float], on_gpu: int) -> Layout:
    """llama.cpp's ``--split-mode layer``: the last `on_gpu` of `units` are dealt by cumulative share.

    Source: llama.cpp src/llama-model.cpp, load_tensors (upper bound of (i - start) / count in the summed split).
    """
    total = sum(weights)
    if on_gpu <= 0 or total <= 0:
        return [None] * units
    ends = [end / total for end in accumulate(weights)]
    start = units - on_gpu
    last = len(weights) - 1
    dealt = [min(bisect_right(ends, i / on_gpu), last) for i in range(on_gpu)]
    return [None] * start + list(dealt)


def fill_in_order(sizes: Sequence[int], room: Sequence[int]) -> Layout | None:
    """Put units on the GPUs in order, each filled before the next; None when they do not all fit."""
    layout: Layout = []
    gpu, left = 0, room[0] if room else 0
    for size in sizes:
        while gpu < len(room) and size > left:
            gpu += 1
            left = room[gpu] if gpu < len(room) else 0
        if gpu >= len(room):
            return None
        layout.append(gpu)
        left -= size
    return layout


def deal_in_turn(
    sizes: Sequence[int],
    output: int,
    room: Sequence[int],
    *,
    buffer: int,
    reserve: int,
    newest_first: bool,
    requested: int | None,
) -> Layout:
    """Ollama's static estimator: units in turn to every GPU with room, one layer kept free on each.

    `buffer` is the size of one layer, `reserve` graph and minimum memory of each GPU. Layers are dealt from the
    last to the first since 0.7 (`newest_first`), before that from the first. Source: ollama llm/memory.go.
    """
    used = {gpu: reserve + buffer for gpu, free in enumerate(room) if free >= reserve + 2 * buffer}
    with_space = list(used)
    layout: Layout = [None] * (len(sizes) + 1)
    placed = 0
    order = range(len(sizes) - 1, -1, -1) if newest_first else range(len(sizes))
    for i in order:
        if requested is not None and placed >= requested:
            continue
        for count in range(len(with_space), 0, -1):
            gpu = with_space[i % count]
            if room[gpu] > used[gpu] + sizes[i]:
                used[gpu] += sizes[i]
                layout[i] = gpu
                placed += 1
                break
            del with_space[i % count]
    if output and (requested is None or placed < requested):
        for count in range(len(with_space), 0, -1):
            gpu = with_space[placed % count]
            if room[gpu] > used[gpu] + output:
                used[gpu] += output
                layout[-1] = gpu
                break
    return layout


def contiguous(layout: Layout, order: Sequence[int]) -> Layout:
    """The same number of units on every GPU, but each GPU's together and GPUs in this order, the last units placed.

    Ollama hands the runner only the counts (``--tensor-split 18,19``).
    """
    counts = [(gpu, layout.count(gpu)) for gpu in order]
    dealt = [gpu for gpu, count in counts for _ in range(count)]
    skipped: Layout = [None] * (len(layout) - len(dealt))
    return skipped + [gpu for gpu in dealt]


def pack_on_fewest(
    sizes: Sequence[int], room: Sequence[int], requested: int | None, *, at_least: int = 1
) -> Layout:
    """Ollama's layout since 0.11.11: the fewest GPUs that hold everything, evenly filled, the output dropped first.

    `room` is in the order of the GPUs; those with the most room are taken first. Units go last to first onto the
    last GPU of the set, and the smallest share of each GPU's room that still holds as much is used; sets smaller than
    `at_least` are not tried. Source:
    ollama llm/server.go (assignLayers, findBestFit, greedyFit).
    """
    order = sorted(range(len(room)), key=lambda gpu: -room[gpu])
    best: Layout = [None] * len(sizes)
    for dropped in range(2):
        units = sizes[: len(sizes) - dropped]
        wanted = len(units) if requested is None else min(len(units), requested)
        for count in range(max(1, min(at_least, len(order))), len(order) + 1):
            chosen = order[:count]
            found = _evenly(units, [room[gpu] for gpu in chosen], wanted)
            best = [None if slot is None else chosen[slot] for slot in found] + [None] * dropped
            if _placed(best) >= wanted:
                break
        if _placed(best) == len(sizes):
            break
    return best


def _evenly(sizes: Sequence[int], room: Sequence[int], wanted: int) -> Layout:
    best = _greedy(sizes, room, wanted)
    most = _placed(best)
    low, high = 0.0, 1.0
    # The engine searches to 1e-6; a share known to 1/4096 gives the same layers at a third of the steps.
    while high - low > 1 / 4096:
        middle = (low + high) / 2
        found = _greedy(sizes, [int(free * middle) for free in room], wanted)
        if _placed(found) == most:
            high, best = middle, found
        else:
            low = middle
    return best


def _greedy(sizes: Sequence[int], room: Sequence[int], wanted: int) -> Layout:
    layout: Layout = [None] * len(sizes)
    gpu = len(room) - 1
    left = room[gpu] if room else 0
    for i in range(len(sizes) - 1, max(len(sizes) - wanted, 0) - 1, -1):
        while sizes[i] > left:
            gpu -= 1
            if gpu < 0:
                return layout
            left = room[gpu]
        layout[i] = gpu
        left -= sizes[i]
    return layout


def _placed(layout: Layout) -> int:
    return len(layout) - layout.count(None)


def placed(layout: Layout) -> int:
    """Units of the layout that lie on some GPU."""
    return _placed(layout)


def span(layout: Layout, gpu: int) -> tuple[int, int] | None:
    """First and last unit on this GPU; None when it holds none."""
    held = [i for i, slot in enumerate(layout) if slot == gpu]
    return (held[0], held[-1]) if held else None
