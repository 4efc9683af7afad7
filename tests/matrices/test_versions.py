"""Versions compare as numbers, part by part."""

import pytest

from gpudoctor.matrices.versions import at_least, same_release, version_tuple, within


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


@pytest.mark.parametrize(
    ("version", "since", "before", "answer"),
    [
        ("0.30.11", "0.30.11", None, True),
        ("0.30.10", "0.30.11", None, False),
        ("0.9.2", None, "0.9.3", True),
        ("0.9.3", None, "0.9.3", False),
        ("v0.9.3-rc1", None, "0.9.3", False),
        ("0.10.1.1", "0.10.1", "0.10.2", True),
        ("0.8.5.post1", "0.8.5.post1", None, True),
        ("latest", None, None, False),
    ],
)
def test_within(version: str, since: str | None, before: str | None, answer: bool) -> None:
    assert within(version, since, before) is answer


def test_spellings_of_one_release() -> None:
    assert same_release("v0.33.0", "0.33.0")
    assert same_release("0.33.0+cu129", "0.33.0")
    assert not same_release("0.33.0rc1", "0.33.0")
    assert not same_release("latest", "latest")
