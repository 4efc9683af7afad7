"""Machine code stays within its major version, PTX reaches forward, `a` code stays where it is."""

import pytest

from gpudoctor.matrices.cuda_arch import coverage, lowest

TORCH_2_11 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


@pytest.mark.parametrize(
    ("capability", "answer"),
    [
        ((7, 0), "none"),
        ((7, 5), "native"),
        ((8, 0), "native"),
        ((8, 7), "native"),
        ((8, 9), "native"),
        ((9, 0), "native"),
        ((10, 3), "native"),
        ((11, 0), "none"),
        ((12, 1), "native"),
    ],
)
def test_a_wheel_without_ptx(capability: tuple[int, int], answer: str) -> None:
    assert coverage(TORCH_2_11, capability) == answer


@pytest.mark.parametrize(
    ("archs", "capability", "answer"),
    [
        (["sm_70", "compute_70"], (12, 0), "ptx"),
        (["compute_80"], (7, 5), "none"),
        (["sm_90a"], (9, 0), "native"),
        (["sm_100a"], (10, 3), "none"),
        (["sm_100f"], (10, 3), "native"),
        (["compute_90a"], (10, 0), "none"),
        (["compute_100f"], (12, 0), "none"),
        (["sm_86"], (8, 0), "none"),
        (["gfx1100", "sm_next"], (8, 0), "none"),
        ([], (8, 0), "none"),
    ],
)
def test_rules(archs: list[str], capability: tuple[int, int], answer: str) -> None:
    assert coverage(archs, capability) == answer


def test_lowest() -> None:
    assert lowest(TORCH_2_11) == (7, 5)
    assert lowest(["sm_120", "compute_90"]) == (9, 0)
    assert lowest(["gfx90a"]) is None
