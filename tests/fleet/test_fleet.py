"""A rack's reports: the worst node first, what differs, and no node lost to a broken file."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.fleet.hosts import fold, natural

Command = Callable[..., subprocess.CompletedProcess[str]]


def report(folder: Path, host: str, *problems: tuple[str, str], verdict: str = "", **machine: str) -> Path:
    """Write a node's report as ``check --json`` does, as far as it matters here."""
    statuses = [status for _, status in problems]
    verdict = verdict or next((s for s in ("fail", "unknown", "warn") if s in statuses), "pass")
    results = [{"id": i, "status": status, "subject": "host", "message": f"{i} says so"} for i, status in problems]
    code = {"fail": 1, "unknown": 3}.get(verdict, 0)
    document = {
        "schema": "gpudoctor.report/1",
        "run": {"started": "2026-11-20T00:00:00Z", "host": host, "exit_code": code},
        "verdict": verdict,
        "machine": {"GPUs": "8 x H100", **machine},
        "results": results,
    }
    path = folder / f"{host}.json"
    path.write_text(json.dumps(document))
    return path


def merged(gpudoctor: Command, *arguments: str | Path) -> dict[str, Any]:
    done = gpudoctor("report", "merge", *arguments, "--json")
    fleet: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == fleet["exit_code"]
    assert done.stderr == ""
    return fleet


def test_the_worst_node_comes_first(gpudoctor: Command, tmp_path: Path) -> None:
    report(tmp_path, "gpu10", ("driver.end-of-life", "warn"))
    report(tmp_path, "gpu2", ("gpu.xid", "fail"))
    report(tmp_path, "gpu3", ("gpu.xid", "fail"), ("driver.too-old", "fail"))
    report(tmp_path, "gpu4")
    report(tmp_path, "gpu1", ("driver.nvml-unusable", "unknown"))
    fleet = merged(gpudoctor, tmp_path)
    assert [node["host"] for node in fleet["nodes"]] == ["gpu3", "gpu2", "gpu1", "gpu10", "gpu4"]
    assert (fleet["verdict"], fleet["exit_code"]) == ("fail", 1)
    assert fleet["problems"][0]["id"] == "gpu.xid"
    assert fleet["problems"][0]["hosts"] == ["gpu3", "gpu2"]


def test_the_one_that_is_not_like_the_others(gpudoctor: Command, tmp_path: Path) -> None:
    for number in range(1, 8):
        report(tmp_path, f"gpu{number:02}", driver="580.95.05")
    report(tmp_path, "gpu08", driver="570.195.03")
    report(tmp_path, "cpu01", GPUs="", driver="")
    (deviation,) = merged(gpudoctor, tmp_path)["drift"]
    assert (deviation["what"], deviation["value"], deviation["usual"]) == ("driver", "570.195.03", "580.95.05")
    assert deviation["hosts"] == ["gpu08"]


def test_where_no_value_is_common_every_node_deviates(gpudoctor: Command, tmp_path: Path) -> None:
    report(tmp_path, "gpu01", VBIOS="A")
    report(tmp_path, "gpu02", VBIOS="B")
    found = merged(gpudoctor, tmp_path)["drift"]
    assert {(each["value"], each["usual"]) for each in found} == {("A", "no common value"), ("B", "no common value")}


def test_nodes_against_the_golden_one(gpudoctor: Command, checkout: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    snapshot = checkout / "fixtures/h100x8-healthy/snapshot.json"
    assert gpudoctor("profile", "save", good, "--of", snapshot).returncode == 0
    gpudoctor("check", "--snapshot", snapshot, "-qq", "-o", f"json={tmp_path / 'same.json'}")
    gpudoctor("check", "--snapshot", checkout / "fixtures/h100x8-gpu-off-the-bus/snapshot.json", "-qq", "-o",
              f"json={tmp_path / 'other.json'}")  # fmt: skip
    assert merged(gpudoctor, tmp_path / "same.json", "--baseline", good)["drift"] == []
    # The lost GPU still counts: seven answer, the eighth is known by its address.
    assert merged(gpudoctor, tmp_path / "other.json", "--baseline", snapshot)["nodes"][0]["verdict"] == "fail"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\x00\xff\xfe", "no JSON document"),
        (b'{"schema": "gpudoctor.report/1", "results": [', "truncated"),
        (b'{"schema": "gpudoctor.report/2"}', "gpudoctor.report/1"),
        (b'{"schema": "gpudoctor.snapshot/1"}', "check --snapshot"),
        (b'{"schema": "gpudoctor.error/1", "error": {}}', "could make no report"),
        (b'{"schema": "gpudoctor.report/1", "verdict": "fine"}', "no report"),
        (b"[" * 100_000, "no JSON document"),
    ],
    ids=["empty", "binary", "cut", "newer", "snapshot", "error", "wrong", "deep"],
)
def test_a_broken_report_is_named_and_the_rest_still_merged(
    gpudoctor: Command, tmp_path: Path, content: bytes, why: str
) -> None:
    report(tmp_path, "gpu01")
    (tmp_path / "gpu02.json").write_bytes(content)
    fleet = merged(gpudoctor, tmp_path)
    assert ([node["host"] for node in fleet["nodes"]], fleet["exit_code"]) == (["gpu01"], 3)
    assert why in fleet["unreadable"][0]["problem"]


def test_no_report_at_all_is_one_line(gpudoctor: Command, tmp_path: Path) -> None:
    done = gpudoctor("report", "merge", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    (tmp_path / "x.json").write_text("{}")
    done = gpudoctor("report", "merge", tmp_path, tmp_path / "nowhere.json")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_the_newest_report_of_a_node_counts(gpudoctor: Command, tmp_path: Path) -> None:
    old = report(tmp_path, "gpu01", ("gpu.xid", "fail"))
    (tmp_path / "old.json").write_text(old.read_text())
    new = report(tmp_path, "gpu01")
    new.write_text(new.read_text().replace("2026-11-20", "2026-11-21"))
    assert merged(gpudoctor, tmp_path)["summary"] == {"fail": 0, "unknown": 0, "warn": 0, "pass": 1, "unreadable": 0}


def test_what_changed_between_two_reports(gpudoctor: Command, tmp_path: Path) -> None:
    before = report(tmp_path, "monday", ("gpu.xid", "fail"), driver="570")
    after = report(tmp_path, "today", ("driver.too-old", "fail"), driver="580")
    done = gpudoctor("report", "diff", before, after, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert found["machine"] == [{"what": "driver", "before": "570", "after": "580"}]
    assert ([p["id"] for p in found["came"]], [p["id"] for p in found["went"]]) == (["driver.too-old"], ["gpu.xid"])
    same = gpudoctor("report", "diff", before, before)
    assert (same.returncode, "no difference" in same.stdout) == (0, True)


def test_a_hundred_sick_nodes_fit_on_a_screen_and_on_a_page(gpudoctor: Command, tmp_path: Path) -> None:
    for number in range(100):
        report(tmp_path, f"gpu{number:03}", ("gpu.xid", "fail"))
    page = tmp_path / "rack.html"
    done = gpudoctor("report", "merge", tmp_path, "-o", f"html={page}")
    assert len(done.stdout.splitlines()) < 60
    assert "100 nodes (gpu[000-099])" in done.stdout
    assert "gpu[000-099]" in page.read_text()
    assert all(f"<td>gpu{number:03}</td>" in page.read_text() for number in range(100))


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["gpu01", "gpu02", "gpu04"], "gpu[01-02,04]"),
        (["gpu9", "gpu10"], "gpu9, gpu10"),
        (["login"], "login"),
        (["b2", "a1", "b1"], "a1, b[1-2]"),
        (["rack1-gpu01", "rack1-gpu02"], "rack1-gpu[01-02]"),
        (["node1.example.com", "node2.example.com"], "node1.example.com, node2.example.com"),
        ([], ""),
    ],
)
def test_names_in_few_words(names: list[str], text: str) -> None:
    assert fold(names) == text


def test_natural_order() -> None:
    assert sorted(["gpu10", "gpu9", "gpu", "a"], key=natural) == ["a", "gpu", "gpu9", "gpu10"]
