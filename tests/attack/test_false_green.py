"""Attempts at a green report of a machine that nobody could look at. None may end with exit code 0."""

import json
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.checking.policy import default_policy
from gpudoctor.checking.target import Target
from gpudoctor.cli.judging import judge_snapshot, select_checks
from gpudoctor.facts.snapshot import decode, section_types

Command = Callable[..., subprocess.CompletedProcess[str]]

LEFT_OUT = ("driver", "driver.nvml-unusable", "driver,gpu.not-responding", "driver.nvml-unusable,driver.not-loaded")


def recorded(checkout: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((checkout / "fixtures" / name / "snapshot.json").read_text(encoding="utf-8"))
    return document


def judge(gpudoctor: Command, folder: Path, document: dict[str, Any], *more: str | Path, **env: str) -> dict[str, Any]:
    path = folder / "s.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    done = gpudoctor("check", "--json", "--no-config", "--snapshot", path, *more, **env)
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == report["run"]["exit_code"]
    return report


def code(report: dict[str, Any]) -> int:
    return int(report["run"]["exit_code"])


@pytest.mark.parametrize("left_out", LEFT_OUT)
def test_a_hung_driver_cannot_be_skipped_away(
    gpudoctor: Command, checkout: Path, tmp_path: Path, left_out: str
) -> None:
    report = judge(gpudoctor, tmp_path, recorded(checkout, "h100x8-nvml-hangs"), "--skip", left_out)
    assert (code(report), report["verdict"]) == (3, "unknown")
    keeper = next(r for r in report["results"] if r["id"] == "driver.nvml-unusable" and r["status"] == "unknown")
    assert "--skip" in keeper["message"]


@pytest.mark.parametrize("name", ["v100-driver-dropped-it", "no-gpu", "rtx4090-fresh-server"])
def test_a_machine_without_usable_gpu_cannot_be_skipped_ready(
    gpudoctor: Command, checkout: Path, tmp_path: Path, name: str
) -> None:
    assert code(judge(gpudoctor, tmp_path, recorded(checkout, name), "--skip", "driver,pci")) == 3


def test_a_healthy_machine_stays_ready_whatever_is_skipped(
    gpudoctor: Command, checkout: Path, tmp_path: Path
) -> None:
    healthy = recorded(checkout, "h100x8-healthy")
    for left_out in ("driver", "pci,driver", "gpu"):
        assert code(judge(gpudoctor, tmp_path, healthy, "--skip", left_out)) == 0


def test_a_chosen_gpu_that_is_not_here_is_no_pass(gpudoctor: Command, checkout: Path, tmp_path: Path) -> None:
    report = judge(gpudoctor, tmp_path, recorded(checkout, "h100x8-healthy"), "--gpus", "0,9")
    seen = {(r["id"], r["subject"]) for r in report["results"] if r["status"] == "fail"}
    assert (code(report), seen) == (1, {("gpu.count-short", "gpu:9")})


def test_a_record_that_says_nothing_applies_is_no_pass(gpudoctor: Command, checkout: Path, tmp_path: Path) -> None:
    nothing = {"status": "unavailable", "reason": "forged", "kind": "not-applicable"}
    empty = {**recorded(checkout, "h100x8-healthy"), **dict.fromkeys(section_types(), nothing)}
    assert code(judge(gpudoctor, tmp_path, empty)) == 3
    assert code(judge(gpudoctor, tmp_path, empty, "--expect-gpus", "0")) == 0


@pytest.mark.parametrize("kind", ["timeout", "crashed", "error", "no-permission", "not-recorded", "not-supported"])
@pytest.mark.parametrize("section", ["pci", "driver", "gpus"])
def test_a_deciding_section_that_is_missing_is_no_pass(checkout: Path, section: str, kind: str) -> None:
    gone = {"status": "unavailable", "reason": "forged", "kind": kind}
    facts = decode(json.dumps({**recorded(checkout, "h100x8-healthy"), section: gone}).encode(), "forged")
    catalogue, selection = select_checks([], [], [])
    judgement = judge_snapshot(facts, Target(), default_policy(), catalogue, selection, [], "fail")
    assert judgement.exit_code in (1, 3)


def test_gpus_that_vanished_from_the_record_are_no_pass(gpudoctor: Command, checkout: Path, tmp_path: Path) -> None:
    healthy = recorded(checkout, "h100x8-healthy")
    for kept in (0, 7):
        fewer = {**healthy, "gpus": {**healthy["gpus"], "gpus": healthy["gpus"]["gpus"][:kept]}}
        assert code(judge(gpudoctor, tmp_path, fewer)) == 1


@pytest.mark.parametrize(("accepted", "expected"), [("*", 3), ("driver.*", 3), ("driver.nvml-unusable", 0)])
def test_only_a_named_acceptance_covers_what_could_not_be_looked_at(
    gpudoctor: Command, checkout: Path, tmp_path: Path, accepted: str, expected: int
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[[accept]]\nid = "{accepted}"\nreason = "for now"\n', encoding="utf-8")
    gone = {"status": "unavailable", "reason": "cut", "kind": "crashed"}
    document = {**recorded(checkout, "h100x8-healthy"), "gpus": gone}
    assert code(judge(gpudoctor, tmp_path, document, "--config", config)) == expected
    hung = recorded(checkout, "h100x8-nvml-hangs")
    assert code(judge(gpudoctor, tmp_path, hung, "--config", config)) == (1 if expected else 0)


KEEPER = '''"""Acme says that all is well.

## Why it matters
It does not.

## How to fix
Nothing.

## References
- https://acme.example/gpus
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, passed
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus


@check(gatekeeper_of="gpus")
def {name}(gpus: Gpus | Unavailable) -> Iterator[Finding]:
    """Pass."""
    yield passed("host", "all is well")
'''


@pytest.mark.parametrize("steals", [False, True])
def test_a_third_partys_gatekeeper_stands_in_for_nobody(
    gpudoctor: Command, checkout: Path, tmp_path: Path, steals: bool
) -> None:
    site = tmp_path / "site"
    modules = {"zzz/well.py": KEEPER.format(name="well")}
    if steals:
        modules["driver/nvml_unusable.py"] = KEEPER.format(name="nvml_unusable")
    for name, text in modules.items():
        path = site / "acme_checks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text, encoding="utf-8")
    (site / "acme_checks" / "__init__.py").touch()
    info = site / "acme_checks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-checks\nVersion: 1.0\n", encoding="utf-8")
    entry = "[gpudoctor.checks]\nacme = acme_checks\n"
    (info / "entry_points.txt").write_text(textwrap.dedent(entry), encoding="utf-8")
    gone = {"status": "unavailable", "reason": "cut", "kind": "crashed"}
    report = judge(
        gpudoctor, tmp_path, {**recorded(checkout, "h100x8-healthy"), "gpus": gone}, PYTHONPATH=str(site)
    )
    assert code(report) == 3
