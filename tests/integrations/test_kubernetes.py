"""Manifests against the Kubernetes schemas, and node-problem-detector's rules run as it runs them."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

HERE = Path(__file__).parents[2]
FIXTURES = HERE / "fixtures"
FOLDER = HERE / "integrations" / "kubernetes"
Command = Callable[..., subprocess.CompletedProcess[str]]
#: One that is out of support and still met, and the newest that the package knows.
VERSIONS = ("1.28", kubernetes_validate.latest_version())


def documents() -> list[dict[str, Any]]:
    return [document for path in sorted(FOLDER.glob("*.yaml")) for document in YAML(typ="safe").load_all(path)]


def containers() -> list[dict[str, Any]]:
    """Return the containers that run gpudoctor."""
    pods = [
        d["spec"]["template"]["spec"] if d["kind"] == "DaemonSet" else d["spec"] for d in documents() if "spec" in d
    ]
    every = [each for pod in pods for each in (*pod.get("initContainers", ()), *pod["containers"])]
    return [each for each in every if each["name"] == "gpudoctor"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", documents(), ids=lambda d: d["kind"])
def test_a_manifest_fits_the_schema(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_the_schema_would_notice() -> None:
    broken = json.loads(json.dumps(documents()[1]))
    broken["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFilesystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[1], strict=True)


@pytest.mark.parametrize("container", containers(), ids=["DaemonSet", "init"])
def test_no_right_is_taken_that_is_not_needed(container: dict[str, Any]) -> None:
    rights = container["securityContext"]
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert not rights.get("privileged", False)


@pytest.mark.parametrize(("number", "ended"), [(0, 1), (1, 1)], ids=["DaemonSet", "init"])
def test_a_container_runs_a_command_line_that_gpudoctor_knows(
    gpudoctor: Command, tmp_path: Path, number: int, ended: int
) -> None:
    words = [re.sub(r"^--(watch|wait)=.*", "--timeout=45", word) for word in containers()[number]["args"]]
    words = [
        word.replace("/textfile/", f"{tmp_path}/").replace("/dev/termination-log", f"{tmp_path}/log") for word in words
    ]
    done = gpudoctor(*words, "--no-config", "--snapshot", FIXTURES / "h100x8-gpu-off-the-bus" / "snapshot.json")
    assert done.returncode == ended, done.stderr


def test_a_pod_that_does_not_start_says_why(gpudoctor: Command, tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    words = [word for word in containers()[1]["args"] if not word.startswith(("--wait", "--termination-log"))]
    sick = FIXTURES / "h100x8-gpu-off-the-bus" / "snapshot.json"
    gpudoctor(*words, "--no-config", "--snapshot", sick, f"--termination-log={log}")
    assert "gpu.xid gpu:5: " in log.read_text()


def monitor(gpudoctor: Command, program: Path) -> dict[str, Any]:
    text = gpudoctor("integrate", "npd", "--print", "--program", program).stdout
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def run_rule(rule: dict[str, Any], settings: dict[str, Any]) -> tuple[str, str]:
    """Run a rule as node-problem-detector does: its own group, a deadline, 4 KiB, trimmed, cut by bytes."""
    child = subprocess.Popen(
        [rule["path"], *rule["args"]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, _ = child.communicate(timeout=float(rule["timeout"].removesuffix("s")))
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, _ = child.communicate()
    message = out[:4096].strip()[: settings["max_output_length"]].decode("utf-8")
    return {0: "OK", 1: "NonOK"}.get(child.returncode, "Unknown"), message


def test_node_problem_detector_would_take_the_file(gpudoctor: Command) -> None:
    # What its own Validate asks: the plugin's name, every rule's path, time and condition.
    file = monitor(gpudoctor, Path(sys.executable).with_name("gpudoctor"))
    longest = float(file["pluginConfig"]["timeout"].removesuffix("s"))
    assert file["plugin"] == "custom"
    assert {c["type"] for c in file["conditions"]} == {rule["condition"] for rule in file["rules"]}
    for rule in file["rules"]:
        assert (rule["type"], Path(rule["path"]).exists()) == ("permanent", True)
        assert float(rule["timeout"].removesuffix("s")) <= longest


@pytest.mark.parametrize(
    ("machine", "conditions"),
    [
        # No Docker was recorded there: nothing to judge is not well.
        ("h100x8-healthy", {"Driver": "OK", "Hardware": "OK", "ContainerStack": "Unknown"}),
        ("rtx4090x4-cdi-healthy", {"Driver": "OK", "Hardware": "OK", "ContainerStack": "OK"}),
        # A lost GPU is the driver's trouble, too, and without a driver nothing works: each names the cause.
        ("h100x8-gpu-off-the-bus", {"Driver": "NonOK", "Hardware": "NonOK", "ContainerStack": "Unknown"}),
        ("rtx4090-nouveau-holds-it", {"Driver": "NonOK", "Hardware": "NonOK", "ContainerStack": "NonOK"}),
        ("rtx4090x4-docker-down", {"Driver": "OK", "Hardware": "OK", "ContainerStack": "NonOK"}),
    ],
)
def test_each_condition_tells_of_its_own_trouble(
    gpudoctor: Command, tmp_path: Path, machine: str, conditions: dict[str, str]
) -> None:
    program = tmp_path / "gpudoctor"
    command = Path(sys.executable).with_name("gpudoctor")
    program.write_text(
        "#!/bin/sh\nwords=$(echo \"$*\" | sed 's/--from-cache 60s//')\n"
        f"exec {command} $words --no-config --snapshot {FIXTURES / machine / 'snapshot.json'}\n"
    )
    program.chmod(0o755)
    file = monitor(gpudoctor, program)
    told = {rule["condition"]: run_rule(rule, file["pluginConfig"]) for rule in file["rules"]}
    assert {name.removeprefix("GPU").removesuffix("Unhealthy"): told[name][0] for name in told} == conditions
    for _, message in told.values():
        assert re.fullmatch(r"[ -~]{1,80}", message), message


def test_on_this_very_machine_the_rules_keep_the_contract(gpudoctor: Command) -> None:
    file = monitor(gpudoctor, Path(sys.executable).with_name("gpudoctor"))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        told = list(pool.map(lambda rule: run_rule(rule, file["pluginConfig"]), file["rules"]))
    assert all(re.fullmatch(r"[ -~]{1,80}", message) for _, message in told), told
