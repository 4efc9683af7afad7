"""The rules by Prometheus' own tool, on the very series that gpudoctor writes; the dashboard asks for those, too."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
FOLDER = HERE / "integrations" / "prometheus"
SICK = HERE / "fixtures" / "h100x8-gpu-off-the-bus" / "snapshot.json"
Command = Callable[..., subprocess.CompletedProcess[str]]


def series(gpudoctor: Command) -> dict[str, str]:
    """Return what gpudoctor writes of a sick machine: series -> value."""
    text = gpudoctor("check", "--no-config", "--snapshot", SICK, "-f", "prometheus").stdout
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def alerts(folder: Path, when: str, values: dict[str, str], name: str, expected: int) -> None:
    """Let promtool feed the values for an hour and ask at a time how many alerts of a name there are."""
    test = {
        "rule_files": [str(FOLDER / "gpudoctor.rules.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": f"{value}x120"} for name, value in values.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)',
                        "eval_time": when,
                        "exp_samples": [{"labels": "{}", "value": expected}],
                    }
                ],
            }
        ],
    }
    path = folder / "test.json"
    path.write_text(json.dumps(test))
    done = subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.tier("promtool")
def test_prometheus_takes_the_rules() -> None:
    command = ["promtool", "check", "rules", str(FOLDER / "gpudoctor.rules.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "SUCCESS: 3 rules found" in done.stdout, done.stderr


@pytest.mark.tier("promtool")
@pytest.mark.parametrize(("minute", "expected"), [("3m", 0), ("7m", 1)])
def test_a_failure_that_lasts_five_minutes_alerts(
    gpudoctor: Command, tmp_path: Path, minute: str, expected: int
) -> None:
    failing = {name: value for name, value in series(gpudoctor).items() if 'check="gpu.xid"' in name}
    assert list(failing.values()) == ["2.0"]
    alerts(tmp_path, minute, failing, "GpuCheckFails", expected)


@pytest.mark.tier("promtool")
@pytest.mark.parametrize(("minute", "expected"), [("10m", 0), ("25m", 1)])
def test_a_host_that_fell_silent_alerts(gpudoctor: Command, tmp_path: Path, minute: str, expected: int) -> None:
    # promtool's clock begins at 0: that is when the last run was.
    [name] = [name for name in series(gpudoctor) if "last_run_timestamp" in name]
    alerts(tmp_path, minute, {name: "0"}, "GpuCheckStale", expected)


@pytest.mark.parametrize("file", ["gpudoctor.rules.yml", "gpudoctor-dashboard.json"])
def test_what_is_asked_for_is_written(gpudoctor: Command, file: str) -> None:
    asked = set(re.findall(r"gpudoctor_[a-z_]+", (FOLDER / file).read_text()))
    written = {name.partition("{")[0] for name in series(gpudoctor)}
    assert asked
    assert asked <= written


def test_the_dashboard_has_no_panel_over_another() -> None:
    panels = json.loads((FOLDER / "gpudoctor-dashboard.json").read_text())["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


@pytest.mark.tier("promtool")
@pytest.mark.parametrize(
    "expression",
    [t["expr"] for p in json.loads((FOLDER / "gpudoctor-dashboard.json").read_text())["panels"] for t in p["targets"]],
)
def test_the_dashboards_questions_are_promql(tmp_path: Path, expression: str) -> None:
    rule = {"groups": [{"name": "g", "rules": [{"record": "r", "expr": expression.replace("$instance", ".*")}]}]}
    path = tmp_path / "rule.json"
    path.write_text(json.dumps(rule))
    command = ["promtool", "check", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
