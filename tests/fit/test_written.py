"""Sizes, counts, versions and GPU names as people write them, and as an attacker might."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.fit.hardware import MAXIMUM_GPUS, named
from gpudoctor.fit.model import Unusable
from gpudoctor.fit.settings import size, tokens, version_tuple


@pytest.mark.parametrize(
    ("text", "expected"),
    [("22.5GiB", 24159191040), ("24GB", 24_000_000_000), ("1TiB", 2**40), ("512M", 512 * 2**20), ("4096", 4096),
     (" 8 gib ", 2**33), ("1b", 1)],
)  # fmt: skip
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("32768", 32768), ("32k", 32768), ("1m", 2**20), ("1.5k", 1536), ("131072", 131072)]
)
def test_tokens(text: str, expected: int) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.11.10", (0, 11, 10)), ("v0.33.0", (0, 33, 0)), ("b2900", (2900,)), ("0.3.7-rc5", (0, 3, 7)),
     ("0.5.0.post1", (0, 5, 0)), ("0.20.0+cu129", (0, 20, 0)), ("latest", None), ("", None), (None, None)],
)  # fmt: skip
def test_versions(text: str | None, expected: tuple[int, ...] | None) -> None:
    assert version_tuple(text) == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("4x Quadro RTX 8000", ["Quadro RTX 8000"] * 4),
        ("2 x RTX 4090 + RTX 3060", ["NVIDIA GeForce RTX 4090"] * 2 + ["NVIDIA GeForce RTX 3060"]),
        ("1x RTX PRO 6000", ["NVIDIA RTX PRO 6000 Blackwell Workstation Edition"]),
        ("Radeon Pro W6800", ["Radeon PRO W6800"]),
        ("l4", ["NVIDIA L4"]),
    ],
)
def test_hardware_as_people_write_it(text: str, names: list[str]) -> None:
    gpus, _ = named(text)
    assert [gpu.name for gpu in gpus] == names
    assert [gpu.number for gpu in gpus] == list(range(len(names)))


def test_every_known_card_can_be_named() -> None:
    from gpudoctor.matrices import gpus as matrix

    for card in matrix.nvidia():
        if card.memory_mib:
            gpu = named(card.name)[0][0]
            assert 0 < gpu.usable_bytes < gpu.total_bytes
            assert gpu.usable_bytes > 0.93 * gpu.total_bytes
    for amd in matrix.amd():
        assert named(amd.name)[0][0].vendor == "amd"


# PyTorch prints these totals in its out-of-memory messages, in GiB.
@pytest.mark.parametrize(
    ("name", "printed"),
    [("T4", 14.74), ("RTX 3090", 23.69), ("RTX 4090", 23.64), ("A100 40GB", 39.39), ("A100 80GB", 79.15), ("L4", 22.05),
     ("L40S", 44.4), ("H100 80GB", 79.15), ("H200", 139.8), ("RTX 5090", 31.36), ("RTX A6000", 47.53)],
)  # fmt: skip
def test_what_cuda_can_hand_out(name: str, printed: float) -> None:
    assert abs(named(name)[0][0].usable_bytes / 2**30 - printed) < 0.06


def test_free_memory_of_each_or_of_all() -> None:
    gpus, _ = named("2x RTX 4090", "20GiB,10GiB")
    assert [gpu.free_bytes // 2**30 for gpu in gpus] == [20, 10]
    gpus, _ = named("2x RTX 4090", "20GiB")
    assert [gpu.free_bytes // 2**30 for gpu in gpus] == [20, 20]


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (size, tokens):
        with contextlib.suppress(Unusable):
            assert read(text) >= 0
    with contextlib.suppress(Unusable):
        assert 0 < len(named(text)[0]) <= MAXIMUM_GPUS
    version_tuple(text)


@given(st.text(alphabet="0123456789xX*+ RTXAHL4090GBiT.,-", max_size=80))
def test_texts_that_look_like_hardware_are_read_or_refused(text: str) -> None:
    with contextlib.suppress(Unusable):
        assert 0 < len(named(text, text)[0]) <= MAXIMUM_GPUS


@pytest.mark.parametrize(
    ("text", "count"),
    [("8k", 8192), ("64k", 65536), ("65k", 65536), ("131k", 131072), ("128K", 131072), ("262k", 262144)],
)
def test_thousands_of_tokens_mean_what_people_mean(text: str, count: int) -> None:
    assert tokens(text) == count
