"""vLLM's pages: blocks of 16 tokens, grouped so that all groups have one page size."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from gpudoctor.fit.engines.sharding import rank_token_bytes
from gpudoctor.fit.model import Layer, Model

BLOCK = 16


class Groups(NamedTuple):
    """Cache groups of one rank: every group holds the same number of layers, padded if need be.

    Source: vLLM v1/core/kv_cache_utils.py. `windows` is 0 for full attention; `counts` groups of each kind.
    """

    windows: tuple[int, ...]
    counts: tuple[int, ...]
    page_bytes: float
    """One block of one group: all its layers."""
    token_bytes: float
    """What one token takes in all full-attention layers of the rank, or in all layers without groups."""


def group_layers(
    model: Model, layers: Sequence[Layer], ranks: int, element: float, *, latent: bool, hybrid: bool
) -> Groups:
    """Group the layers of one rank by window; without hybrid groups every layer is kept in full."""
    by_window: dict[int, int] = {}
    each = 0.0
    total = 0.0
    for layer in layers:
        size = rank_token_bytes(layer.cache, model, ranks, element, latent=latent)
        if not size:
            continue
        window = layer.cache.window if hybrid and layer.cache.kind in ("sliding", "chunked") else 0
        by_window[window] = by_window.get(window, 0) + 1
        each = max(each, size)
        total += size if not window else 0.0
    if not by_window:
        return Groups((), (), 0.0, 0.0)
    if len(by_window) == 1:
        # One kind of layer: sizes may differ by layer, so the sum counts and not the largest.
        window, count = next(iter(by_window.items()))
        whole = total or each * count
        return Groups((window,), (1,), BLOCK * whole, whole)
    least, most = min(by_window.values()), max(by_window.values())
    size = most if most < 1.25 * least else least
    counts = tuple(math.ceil(count / size) for count in by_window.values())
    return Groups(tuple(by_window), counts, BLOCK * each * size, total)


def needed_bytes(groups: Groups, tokens: int, in_flight: int) -> int:
    """Bytes that one request of this length needs: windowed groups keep the window, what is in flight, and a page."""
    pages = 0
    for window, count in zip(groups.windows, groups.counts, strict=True):
        full = -(-tokens // BLOCK)
        if window:
            full = -(-min(window - 1 + in_flight, tokens) // BLOCK) + 1
        pages += count * full
    return math.ceil(pages * groups.page_bytes)


def tokens_that_fit(groups: Groups, room: int, in_flight: int) -> int:
    """The longest single request that the room holds, in tokens."""
    if room <= 0 or not groups.page_bytes:
        return 0
    if 0 not in groups.windows:
        return 2**31 if needed_bytes(groups, 2**31, in_flight) <= room else 0
    low, high = 0, int(room // groups.page_bytes) + 1
    while low < high:
        middle = (low + high + 1) // 2
        if needed_bytes(groups, middle * BLOCK, in_flight) <= room:
            low = middle
        else:
            high = middle - 1
    return low * BLOCK
