"""Layers on GPUs: what each rule promises whatever the sizes."""

from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.fit.placement import (
    contiguous,
    deal_in_turn,
    fill_in_order,
    pack_on_fewest,
    placed,
    span,
    split_by_weight,
)

SIZES = st.lists(st.integers(1, 10_000), min_size=1, max_size=60)
ROOM = st.lists(st.integers(0, 100_000), min_size=1, max_size=8)


def held(layout: list[int | None], sizes: list[int], gpu: int) -> int:
    return sum(size for size, slot in zip(sizes, layout, strict=False) if slot == gpu)


@given(SIZES, ROOM)
def test_packing_never_overfills(sizes: list[int], room: list[int]) -> None:
    layout = pack_on_fewest(sizes, room, None)
    assert len(layout) == len(sizes)
    assert all(held(layout, sizes, gpu) <= free for gpu, free in enumerate(room))


@given(SIZES, ROOM)
def test_packing_uses_one_gpu_when_one_is_enough(sizes: list[int], room: list[int]) -> None:
    layout = pack_on_fewest(sizes, room, None)
    if max(room) >= sum(sizes):
        assert len(set(layout)) == 1
        assert placed(layout) == len(sizes)


@given(SIZES, ROOM, st.booleans())
def test_dealing_in_turn_never_overfills(sizes: list[int], room: list[int], newest_first: bool) -> None:
    layout = deal_in_turn(sizes, 5, room, buffer=sizes[0], reserve=100, newest_first=newest_first, requested=None)
    units = [*sizes, 5]
    for gpu, free in enumerate(room):
        if gpu in layout:
            assert held(layout, units, gpu) + 100 + sizes[0] < free + 1
    together = contiguous(layout, range(len(room)))
    assert placed(together) == placed(layout)
    assert [gpu for gpu in together if gpu is not None] == sorted(gpu for gpu in layout if gpu is not None)


@given(st.integers(1, 200), st.lists(st.integers(1, 1000), min_size=1, max_size=8), st.integers(0, 200))
def test_split_by_weight_is_ordered_and_complete(units: int, weights: list[int], wanted: int) -> None:
    wanted = min(units, wanted)
    layout = split_by_weight(units, weights, wanted)
    dealt = [gpu for gpu in layout if gpu is not None]
    assert len(dealt) == wanted
    assert dealt == sorted(dealt)
    assert layout[: units - wanted] == [None] * (units - wanted)


@given(SIZES, ROOM)
def test_filling_in_order_is_all_or_nothing(sizes: list[int], room: list[int]) -> None:
    layout = fill_in_order(sizes, room)
    if layout is not None:
        assert None not in layout
        assert all(held(layout, sizes, gpu) <= free for gpu, free in enumerate(room))


def test_span() -> None:
    assert span([None, 0, 0, 1], 0) == (1, 2)
    assert span([None, 0, 0, 1], 2) is None
