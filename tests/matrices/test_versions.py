"""Versions compare as numbers, part by part."""

import pytest

from gpudoctor.matrices.versions import at_least, version_tuple


def test_parts_are_numbers() -> None:
    assert version_tuple("535.247.01") == (535, 247, 1)


@pytest.mark.parametrize(
    ("version", "floor", "answer"),
    [
        ("535.247.01", "525.60.13", True),
        ("525.60.13", "525.60.13", True),
        ("535.9", "535.54.03", False),
        ("580", "580.65.06", False),
        ("12.0", "12", True),
        ("9.10", "9.9", True),
    ],
)
def test_at_least(version: str, floor: str, answer: bool) -> None:
    assert at_least(version, floor) is answer


def test_words_are_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        version_tuple("535-server")
