"""The CUDA and driver table: counts, rows checked by eye, and what it does not know."""

import datetime

import pytest

from gpudoctor.matrices import cuda_driver


def test_row_counts() -> None:
    table = cuda_driver.table()
    assert len(table.floors) == 3
    assert len(table.toolkits) == 49
    assert len(table.branches) == 19


def test_every_row_names_a_source_the_table_has() -> None:
    table = cuda_driver.table()
    used = {table.forward_compatibility.source}
    used |= {row.source for row in table.floors} | {row.source for row in table.toolkits}
    used |= {row.source for row in table.branches} | {row.source for row in table.modules}
    for key in used:
        assert table.source(key).url.startswith("https://")


@pytest.mark.parametrize(("major", "floor"), [(13, "580.65.06"), (12, "525.60.13"), (11, "450.80.02")])
def test_floors(major: int, floor: str) -> None:
    row = cuda_driver.floor_for_cuda(major)
    assert row is not None
    assert row.min_driver == floor


def test_cuda_13_needs_turing() -> None:
    row = cuda_driver.floor_for_cuda(13)
    assert row is not None
    assert row.min_compute_capability == (7, 5)


@pytest.mark.parametrize("major", [10, 14, 0])
def test_unknown_cuda_has_no_floor(major: int) -> None:
    assert cuda_driver.floor_for_cuda(major) is None


@pytest.mark.parametrize(
    ("cuda", "branch", "bundled", "floor"),
    [
        ("13.3.1", 610, "610.43.02", "580.65.06"),
        ("13.0", 580, "580.65.06", "580.65.06"),
        ("12.9", 575, "575.51.03", "525.60.13"),
        ("12.9.1", 575, "575.57.08", "525.60.13"),
        ("12.8", 570, "570.26", "525.60.13"),
        ("12.4.0", 550, "550.54.14", "525.60.13"),
        ("12.2.2", 535, "535.104.05", "525.60.13"),
        ("11.8", 520, "520.61.05", "450.80.02"),
        ("10.2", 440, "440.33", None),
    ],
)
def test_toolkits_read_by_eye(cuda: str, branch: int, bundled: str, floor: str | None) -> None:
    row = cuda_driver.toolkit(cuda)
    assert row is not None
    assert (row.branch, row.bundled_driver, row.min_driver) == (branch, bundled, floor)


@pytest.mark.parametrize("cuda", ["12.7", "12.9.2", "12.4.131", "14.0", "12", "", "cu129"])
def test_unknown_toolkits(cuda: str) -> None:
    assert cuda_driver.toolkit(cuda) is None


def test_a_toolkit_is_no_older_than_its_floor() -> None:
    for row in cuda_driver.table().toolkits:
        floor = cuda_driver.floor_for_cuda(int(row.cuda.split(".")[0]))
        assert row.min_driver == (floor.min_driver if floor else None)


@pytest.mark.parametrize(
    ("branch", "cuda", "kind", "eol"),
    [
        (470, "11.4", "long-term", datetime.date(2024, 7, 31)),
        (535, "12.2", "long-term", datetime.date(2026, 6, 30)),
        (550, "12.4", "production", None),
        (570, "12.8", "production", datetime.date(2026, 2, 28)),
        (580, "13.0", "long-term", datetime.date(2028, 6, 30)),
        (595, "13.2", "production", datetime.date(2027, 3, 31)),
        (610, "13.3", "new-feature", datetime.date(2026, 8, 31)),
    ],
)
def test_branches_read_by_eye(branch: int, cuda: str, kind: str, eol: datetime.date | None) -> None:
    row = cuda_driver.branch(branch)
    assert row is not None
    assert (row.max_cuda, row.kind, row.eol) == (cuda, kind, eol)


def test_end_of_life_by_day() -> None:
    r535, r550, r615 = (cuda_driver.branch(number) for number in (535, 550, 615))
    assert r535 is not None
    assert r550 is not None
    assert r615 is not None
    assert r535.ended_on(datetime.date(2026, 6, 30)) is False
    assert r535.ended_on(datetime.date(2026, 7, 1)) is True
    assert r550.ended_on(datetime.date(2026, 11, 20)) is True
    assert r615.ended_on(datetime.date(2026, 11, 20)) is None


@pytest.mark.parametrize(
    ("driver", "branch", "cuda"),
    [
        ("535.247.01", 535, "12.2"),
        ("550.54.15", 550, "12.4"),
        ("580.95.05", 580, "13.0"),
        ("450.80.02", 450, "11.0"),
        ("999.1", 999, None),
        ("", None, None),
        ("none", None, None),
    ],
)
def test_what_a_driver_version_says(driver: str, branch: int | None, cuda: str | None) -> None:
    assert cuda_driver.branch_of(driver) == branch
    assert cuda_driver.max_cuda(driver) == cuda


@pytest.mark.parametrize(
    ("architecture", "flavour"),
    [("Pascal", "proprietary"), ("Turing", "either"), ("Hopper", "either"), ("Blackwell", "open"), ("Rubin", None)],
)
def test_kernel_modules(architecture: str, flavour: str | None) -> None:
    assert cuda_driver.module_flavour(architecture) == flavour


@pytest.mark.parametrize(
    ("kind", "answer"),
    [("datacenter", True), ("soc", None), ("geforce", False), ("workstation", None), ("?", None)],
)
def test_forward_compatibility_by_kind(kind: str, answer: bool | None) -> None:
    assert cuda_driver.forward_compatibility().works_on(kind) is answer
