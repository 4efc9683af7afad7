"""The cuDNN table: lines of the support matrices, and the end of Volta."""

import pytest

from gpudoctor.matrices import cudnn


def test_row_count_and_sources() -> None:
    table = cudnn.table()
    assert len(table.rows) == 11
    for key in {row.source for row in table.rows} | {table.volta.source}:
        assert table.source(key).url.startswith("https://")


def test_a_matrix_read_by_eye() -> None:
    blackwell, cuda12, cuda11 = cudnn.rows("9.10.2.21")
    assert (blackwell.cuda_from, blackwell.cuda_to, blackwell.min_driver) == ("12.8", "12.9", "570.26")
    assert blackwell.highest_capability == (12, 0)
    assert (cuda12.cuda_from, cuda12.min_driver) == ("12.0", "525.60.13")
    assert (cuda11.cuda_from, cuda11.cuda_to) == ("11.8", "11.8")


def test_cuda_13_needs_turing() -> None:
    row = cudnn.rows("9.17.0")[0]
    assert (row.cuda_from, row.cuda_to, row.min_driver) == ("13.0", "13.1", "580.65.06")
    assert row.lowest_capability == (7, 5)


def test_unread_matrix() -> None:
    assert cudnn.rows("9.28.0") == ()
    assert cudnn.rows("9.1") == ()


@pytest.mark.parametrize(
    ("version", "answer"),
    [("8.9.5", True), ("9.10.2.21", True), ("9.12.0.46", None), ("9.17.0", False), ("9.28.0.42", False)],
)
def test_the_end_of_volta(version: str, answer: bool | None) -> None:
    assert cudnn.runs_before_turing(version) is answer
