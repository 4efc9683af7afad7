"""The PyTorch table: counts, wheels checked by eye, variants, and what it does not know."""

import pytest

from gpudoctor.matrices import pytorch


def test_row_counts() -> None:
    assert len(pytorch.releases()) == 32
    assert len(pytorch.table().variants) == 42


def test_every_row_names_a_source_the_table_has() -> None:
    table = pytorch.table()
    for key in {row.source for row in table.releases} | {row.source for row in table.variants}:
        assert table.source(key).url.startswith("https://")


@pytest.mark.parametrize(
    ("version", "cuda", "cudnn", "driver", "first_arch", "last_arch"),
    [
        ("1.13.1", "11.7", "8.5.0.96", "450.80.02", "sm_37", "sm_86"),
        ("2.1.0", "12.1", "8.9.2.26", "525.60.13", "sm_50", "sm_90"),
        ("2.5.1", "12.4", "9.1.0.70", "525.60.13", "sm_50", "sm_90"),
        ("2.7.1", "12.6", "9.5.1.17", "525.60.13", "sm_50", "sm_90"),
        ("2.8.0", "12.8", "9.10.2.21", "525.60.13", "sm_70", "sm_120"),
        ("2.10.0", "12.8", "9.10.2.21", "525.60.13", "sm_70", "sm_120"),
        ("2.11.0", "13.0", "9.19.0.56", "580.65.06", "sm_75", "sm_120"),
        ("2.15.0", "13.2", "9.26.0.51", "580.65.06", "sm_75", "sm_120"),
    ],
)
def test_wheels_read_by_eye(version: str, cuda: str, cudnn: str, driver: str, first_arch: str, last_arch: str) -> None:
    row = pytorch.release(version)
    assert row is not None
    assert (row.cuda, row.cudnn, row.min_driver) == (cuda, cudnn, driver)
    assert (row.arch_list[0], row.arch_list[-1]) == (first_arch, last_arch)


def test_aarch64_wheels_have_cuda_from_2_11() -> None:
    with_cuda = [row.version for row in pytorch.releases() if row.aarch64_cuda]
    assert with_cuda[0] == "2.11.0"
    row = pytorch.release("2.11.0")
    assert row is not None
    assert row.aarch64_arch_list == ("sm_80", "sm_90", "sm_100", "sm_110", "sm_120")


def test_python_versions() -> None:
    row = pytorch.release("2.15.0")
    assert row is not None
    assert row.requires_python == ">=3.11"
    assert row.pythons == ("3.11", "3.12", "3.13", "3.14", "3.14t", "3.15", "3.15t")


def test_a_local_part_does_not_change_the_release() -> None:
    assert pytorch.release("2.5.1+cu121") == pytorch.release("2.5.1")
    assert pytorch.cuda_of_local_version("2.5.1+cu121") == "12.1"
    assert pytorch.cuda_of_local_version("2.15.0+cu132") == "13.2"
    assert pytorch.cuda_of_local_version("2.5.1") is None
    assert pytorch.cuda_of_local_version("2.5.1+cpu") is None


@pytest.mark.parametrize(
    ("version", "cudas"),
    [
        ("2.5.1", ["11.8", "12.1", "12.4"]),
        ("2.8.0", ["12.6", "12.8", "12.9"]),
        ("2.11.0", ["12.6", "12.8", "13.0"]),
        ("2.14.1", ["12.6", "13.0", "13.2"]),
        ("2.99.0", []),
    ],
)
def test_variants(version: str, cudas: list[str]) -> None:
    assert [row.cuda for row in pytorch.variants(version)] == cudas


def test_volta_lives_on_in_cuda_12_6() -> None:
    row = pytorch.variant("2.14.0", "12.6")
    assert row is not None
    assert "sm_70" in row.arch_list
    default = pytorch.release("2.14.0")
    assert default is not None
    assert "sm_70" not in default.arch_list


@pytest.mark.parametrize("version", ["", "2.99.0", "2.5", "nightly"])
def test_unknown_versions(version: str) -> None:
    assert pytorch.release(version) is None
