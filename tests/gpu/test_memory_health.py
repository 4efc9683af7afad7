"""ECC, row remapping, retired pages, repairs, inforom: severities after NVIDIA's rules."""

from typing import Any

import msgspec
import pytest

from gpudoctor.facts.base import Reason, Unavailable
from gpudoctor.facts.gpus import Ecc, EccCounts, Gpu, Gpus, RetiredPages, RowRemapping
from gpudoctor.testing import judge_check

NONE = Unavailable("this GPU has none", "not-supported")
A100, RTX4090, A6000 = "NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 4090", "NVIDIA RTX A6000"


def status(check_id: str, **facts: Any) -> str:
    gpu = Gpu(index=0, **{"name": A100, **facts})
    (result,) = judge_check(check_id, gpus=Gpus(count=1, gpus=(gpu,)))
    assert result.status not in ("fail", "warn") or result.finding.fix
    return result.status


def ecc(enabled: bool | Unavailable = True, pending: bool | Unavailable = True, **volatile: Any) -> Ecc:
    return Ecc(enabled=enabled, pending=pending, volatile=EccCounts(**volatile), aggregate=EccCounts(uncorrected=0))


@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        (A100, ecc(), "pass"),
        (A100, ecc(False, False), "warn"),
        (A100, ecc(True, False), "warn"),
        (A6000, ecc(False, False), "pass"),
        (RTX4090, ecc(False, False), "skip"),
        (RTX4090, NONE, "skip"),
        ("A card of next year", ecc(False, False), "skip"),
        (A100, Unavailable("Unknown Error", "error"), "unknown"),
    ],
)
def test_ecc_off(name: str, mode: Ecc | Unavailable, expected: str) -> None:
    assert status("gpu.ecc-off", name=name, ecc=mode) == expected


ROWS = RowRemapping(corrected=0, uncorrected=0, pending=False, failed=False, banks_exhausted=0)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"ecc": ecc(uncorrected=0), "row_remapping": ROWS}, "pass"),
        ({"ecc": ecc(uncorrected=2, dram_uncorrected=2), "row_remapping": ROWS}, "warn"),
        ({"ecc": ecc(uncorrected=2, sram_uncorrected=2), "row_remapping": ROWS}, "fail"),
        ({"ecc": ecc(dram_uncorrected=2), "row_remapping": ROWS}, "warn"),
        ({"ecc": ecc(uncorrected=1), "row_remapping": ROWS, "recovery_action": 1}, "fail"),
        ({"ecc": ecc(uncorrected=1), "row_remapping": ROWS, "recovery_action": 0}, "warn"),
        ({"ecc": ecc(uncorrected=1), "row_remapping": NONE}, "fail"),
        ({"ecc": ecc(False, uncorrected=0), "row_remapping": ROWS}, "skip"),
        ({"ecc": ecc(), "row_remapping": ROWS}, "skip"),
        ({"ecc": NONE}, "skip"),
    ],
)
def test_ecc_uncorrected(facts: dict[str, Any], expected: str) -> None:
    assert status("gpu.ecc-uncorrected", **facts) == expected


def test_errors_of_the_past_are_information() -> None:
    past = msgspec.structs.replace(ecc(uncorrected=0), aggregate=EccCounts(uncorrected=9))
    assert status("gpu.ecc-uncorrected", ecc=past, row_remapping=ROWS) == "info"


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"dram_corrected": 19_999_999, "sram_corrected": 9_999}, "pass"),
        ({"dram_corrected": 20_000_000}, "warn"),
        ({"dram_corrected": 0, "sram_corrected": 10_000}, "warn"),
        ({"corrected": 30_000_000}, "warn"),
        ({"corrected": 5}, "pass"),
        ({"corrected": Unavailable("no rights", "no-permission")}, "unknown"),
    ],
)
def test_ecc_corrected(counts: dict[str, Any], expected: str) -> None:
    assert status("gpu.ecc-corrected-high", ecc=ecc(**counts)) == expected


@pytest.mark.parametrize(("flag", "expected"), [(True, "warn"), (False, "pass"), (NONE, "skip")])
def test_sram_threshold(flag: bool | Unavailable, expected: str) -> None:
    assert status("gpu.sram-ecc-threshold", ecc=Ecc(enabled=True, sram_threshold_exceeded=flag)) == expected


@pytest.mark.parametrize(
    ("change", "failed", "exhausted", "pending"),
    [
        ({}, "pass", "pass", "pass"),
        ({"uncorrected": 300, "corrected": 300}, "pass", "pass", "pass"),
        ({"failed": True}, "fail", "pass", "pass"),
        ({"banks_exhausted": 1}, "pass", "warn", "pass"),
        ({"banks_exhausted": NONE}, "pass", "pass", "pass"),
        ({"uncorrected": 512}, "pass", "fail", "pass"),
        ({"pending": True}, "pass", "pass", "warn"),
    ],
)
def test_row_remapping_judges_flags_not_counts(
    change: dict[str, Any], failed: str, exhausted: str, pending: str
) -> None:
    rows = msgspec.structs.replace(ROWS, **change)
    assert status("gpu.row-remap-failed", row_remapping=rows) == failed
    assert status("gpu.row-remap-exhausted", row_remapping=rows) == exhausted
    assert status("gpu.row-remap-pending", row_remapping=rows) == pending


@pytest.mark.parametrize(
    ("single", "double", "pending", "expected"),
    [
        (0, 0, False, "pass"),
        (10, 5, False, "pass"),
        (10, 6, False, "warn"),
        (0, 1, True, "warn"),
        (1, 62, True, "fail"),
        (NONE, NONE, NONE, "skip"),
        (NONE, 63, False, "fail"),
    ],
)
def test_retired_pages(single: Any, double: Any, pending: Any, expected: str) -> None:
    pages = RetiredPages(single_bit=single, double_bit=double, pending=pending)
    assert status("gpu.pages-retired", retired_pages=pages) == expected


@pytest.mark.parametrize(
    ("channel", "cluster", "expected"),
    [(True, NONE, "warn"), (NONE, True, "warn"), (False, False, "pass"), (NONE, NONE, "skip")],
)
def test_repairs(channel: Any, cluster: Any, expected: str) -> None:
    assert status("gpu.repair-pending", channel_repair_pending=channel, tpc_repair_pending=cluster) == expected


@pytest.mark.parametrize(("valid", "expected"), [(True, "pass"), (False, "warn"), (NONE, "skip")])
def test_inforom_is_never_a_failure(valid: Any, expected: str) -> None:
    assert status("gpu.inforom-corrupt", inforom_valid=valid) == expected


@pytest.mark.parametrize(
    ("action", "expected"),
    [*((n, "fail") for n in range(1, 8)), (0, "pass"), (42, "warn")],
)
def test_recovery_action(action: int, expected: str) -> None:
    assert status("gpu.recovery-needed", recovery_action=action) == expected


@pytest.mark.parametrize(
    ("kind", "expected"), [("driver-too-old", "skip"), ("error", "unknown"), ("timeout", "unknown")]
)
def test_what_could_not_be_read_is_no_pass(kind: Reason, expected: str) -> None:
    assert status("gpu.recovery-needed", recovery_action=Unavailable("x", kind)) == expected
