"""The SGLang table: count, pins checked by eye, and what it does not know."""

import pytest

from gpudoctor.matrices import sglang


def test_row_count() -> None:
    assert len(sglang.releases()) == 24


@pytest.mark.parametrize(
    ("version", "torch", "cuda", "driver", "capability"),
    [
        ("0.3.6", None, None, None, None),
        ("0.4.6.post5", "2.6.0", "12.4", "525.60.13", (7, 5)),
        ("0.5.2", "2.8.0", "12.8", "525.60.13", (7, 5)),
        ("0.5.10", "2.9.1", "12.8", "525.60.13", None),
        ("0.5.11", "2.11.0", "13.0", "580.65.06", (7, 5)),
        ("0.5.23", "2.14.1", "13.0", "580.65.06", (7, 5)),
    ],
)
def test_pins_read_by_eye(
    version: str, torch: str | None, cuda: str | None, driver: str | None, capability: tuple[int, int] | None
) -> None:
    row = sglang.release(version)
    assert row is not None
    assert (row.torch, row.cuda, row.min_driver, row.min_compute_capability) == (torch, cuda, driver, capability)


@pytest.mark.parametrize("version", ["0.5.14", "0.6.0", "", "latest"])
def test_unknown_releases(version: str) -> None:
    assert sglang.release(version) is None
