"""The Xid table: rows checked by eye against NVIDIA's catalogue, and what it does not know."""

import pytest

from gpudoctor.matrices import xid


def test_counts_and_no_number_twice() -> None:
    codes = [code for row in xid.table().xid for code in row.codes]
    assert len(codes) == len(set(codes)) == 109
    switch_codes = [code for row in xid.table().sxid for code in row.codes]
    assert len(switch_codes) == len(set(switch_codes)) == 92


def test_every_row_names_a_source_the_table_has() -> None:
    table = xid.table()
    for key in {row.source for row in table.xid} | {row.source for row in table.sxid}:
        assert table.source(key).url.startswith("https://")


@pytest.mark.parametrize(
    ("code", "action", "verdict"),
    [
        (13, "RESTART_APP", "warn-if-recent"),
        (31, "RESTART_APP", "warn-if-recent"),
        (43, "IGNORE", "info"),
        (45, "WORKFLOW_XID_45", "info"),
        (48, "WORKFLOW_XID_48", "fail-until-reset"),
        (54, "CHECK_MECHANICALS", "fail-until-reset"),
        (63, "IGNORE", "info"),
        (64, "RESET_GPU", "fail-until-reset"),
        (74, "WORKFLOW_NVLINK_ERR", "fail-if-recurring"),
        (79, "RESTART_BM", "fail-until-reset"),
        (92, "IGNORE", "info"),
        (94, "RESTART_APP", "warn-if-recent"),
        (95, "RESET_GPU", "fail-until-reset"),
        (109, "RESET_GPU", "fail-until-reset"),
        (119, "RESET_GPU", "fail-until-reset"),
        (120, "RESET_GPU", "fail-until-reset"),
        (145, "WORKFLOW_NVLINK5_ERR", "fail-if-fatal"),
        (154, "XID_154", "see"),
        (172, None, "see"),
    ],
)
def test_rows_read_by_eye(code: int, action: str | None, verdict: str) -> None:
    row = xid.xid(code)
    assert row is not None
    assert (row.action, row.verdict) == (action, verdict)


@pytest.mark.parametrize("code", [0, 14, 61, 108, 173, 176, 999])
def test_unknown_xid(code: int) -> None:
    assert xid.xid(code) is None


def test_faults_of_programs_never_fail_a_machine() -> None:
    rows = [row for row in xid.table().xid if row.program]
    assert {code for row in rows for code in row.codes} == {13, 31, 43, 45, 68}
    assert {row.verdict for row in rows} == {"info", "warn-if-recent"}


def test_remap_and_repair_flags_judge_their_numbers() -> None:
    see = {code: row.see for row in xid.table().xid for code in row.codes}
    assert (see[63], see[64], see[154], see[160], see[171]) == (
        "row-remap",
        "row-remap",
        "recovery-action",
        "repair",
        "ecc",
    )


def test_a_line_without_a_number() -> None:
    assert xid.xid_of_text("NVRM: GPU 0000:2b:00.0: GPU has fallen off the bus.") == 79
    assert xid.xid_of_text("NVRM: loading NVIDIA UNIX Kernel Module") is None


@pytest.mark.parametrize(
    ("code", "severity", "action"),
    [
        (11012, "non-fatal", "IGNORE"),
        (12028, "non-fatal", "RESTART_VM"),
        (20034, "fatal", "RESET_BY_LINK"),
        (22003, "always-fatal", "RESTART_BM"),
        (23001, "always-fatal", "RESTART_BM"),
    ],
)
def test_switch_rows_read_by_eye(code: int, severity: str, action: str) -> None:
    row = xid.sxid(code)
    assert row is not None
    assert (row.severity, row.action) == (severity, action)


def test_unknown_sxid() -> None:
    assert xid.sxid(99999) is None
