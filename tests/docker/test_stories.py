"""The stories of containers, through the command line: what is said, why, and the commands in order."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
FOLDER = Path(__file__).parents[2] / "fixtures"
DAY = {"SOURCE_DATE_EPOCH": "1795132800"}


@pytest.fixture
def checked(gpudoctor: Command) -> Callable[[str], dict[str, Any]]:
    """Check a recorded machine and return its report."""

    def run(machine: str) -> dict[str, Any]:
        arguments = json.loads((FOLDER / machine / "expected.json").read_text(encoding="utf-8"))["arguments"]
        done = gpudoctor("check", "--snapshot", FOLDER / machine / "snapshot.json", *arguments, "--json", **DAY)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    return run


def finding(report: dict[str, Any], check: str, subject: str = "") -> dict[str, Any]:
    found: list[dict[str, Any]] = [r for r in report["results"] if r["id"] == check and r["subject"].endswith(subject)]
    return found[0]


def commands(result: dict[str, Any]) -> list[str]:
    return [step["command"] for step in result["fix"] if step["command"]]


def seen(result: dict[str, Any]) -> dict[str, str]:
    return {each["what"]: str(each["value"]) for each in result["evidence"]}


def problems(report: dict[str, Any]) -> set[str]:
    return {r["id"] for r in report["results"] if r["status"] in ("fail", "unknown")}


def test_a_container_that_lost_its_gpus_is_told_why_and_what_brings_them_back(
    checked: Callable[[str], dict[str, Any]]
) -> None:
    report = checked("rtx8000x4-container-lost-its-gpus")
    result = finding(report, "container.gpu-lost")
    assert report["results"][0] == result
    assert result["subject"] == "container:main-brain"
    assert "2026-11-19T03:12:44Z" in result["message"]
    assert {"--gpus", "runtime: nvidia", "CDI", "device cgroup", "nothing injected"} <= set(seen(result))
    assert commands(result)[:2] == [
        "docker compose -f /srv/brain/compose.yaml up -d --force-recreate main-brain",
        "gpudoctor compose fix /srv/brain/compose.yaml",
    ]
    symptom = finding(report, "serving.offload-partial")
    assert (symptom["status"], symptom["caused_by"]) == ("fail", "container.gpu-lost")
    texts = " ".join(step["text"] for step in result["fix"])
    assert "until the next time" in texts
    assert "device_ids: 0, 1" in texts
    assert "1.18" in texts
    assert "cgroupfs" in texts


def test_where_the_rules_cannot_be_read_the_loss_is_called_likely(checked: Callable[[str], dict[str, Any]]) -> None:
    report = checked("rtx8000x4-container-likely-lost-its-gpus")
    assert "most likely" in finding(report, "container.gpu-lost", "main-brain")["message"]
    assert finding(report, "container.gpu-lost", "ocr")["status"] == "pass"
    assert finding(report, "docker.device-loss-exposed", "ocr")["status"] == "warn"


@pytest.mark.parametrize(
    ("machine", "cause", "steps"),
    [
        ("rtx8000x4-no-toolkit", "docker.no-gpu-path",
         ["gpgkey", "nvidia-container-toolkit.list", "install -y nvidia-container-toolkit", "runtime configure",
          "restart docker"]),
        ("rtx8000x4-runtime-not-registered", "docker.no-gpu-path", ["runtime configure", "restart docker"]),
        ("rtx8000x4-docker-not-restarted", "docker.restart-pending", ["restart docker"]),
    ],
)
def test_which_of_three_steps_is_missing_and_the_commands_in_order(
    checked: Callable[[str], dict[str, Any]], machine: str, cause: str, steps: list[str]
) -> None:
    report = checked(machine)
    roots = [r["id"] for r in report["results"] if r["status"] == "fail" and r["caused_by"] is None]
    assert roots == [cause]
    found = commands(finding(report, cause))
    assert len(found) == len(steps)
    assert all(part in command for part, command in zip(steps, found, strict=True))


def test_a_driver_upgraded_under_its_containers_is_the_cause(checked: Callable[[str], dict[str, Any]]) -> None:
    report = checked("rtx8000x4-driver-upgraded-under-containers")
    inside = finding(report, "container.gpu-lost")
    assert inside["caused_by"] == "driver.library-mismatch"
    assert "535.247.01" in inside["message"]
    assert "535.230.02" in inside["message"]
    assert commands(inside) == ["sudo systemctl reboot"]


def test_two_gpus_in_one_engine_need_shared_memory(checked: Callable[[str], dict[str, Any]]) -> None:
    report = checked("rtx8000x4-shared-memory-too-small")
    assert finding(report, "container.shm-too-small", ":vllm")["status"] == "fail"
    assert finding(report, "container.shm-too-small", ":other")["status"] == "warn"


def test_a_model_folder_that_the_user_may_not_read(checked: Callable[[str], dict[str, Any]]) -> None:
    result = finding(checked("rtx4090x4-model-unreadable"), "container.model-unreadable")
    assert all(word in result["message"] for word in ("/data/models/Qwen3 32B", "0:0", "1000", "750"))
    assert "sudo chmod -R a+rX '/data/models/Qwen3 32B'" in commands(result)


def test_a_clock_in_utc_is_a_note(checked: Callable[[str], dict[str, Any]]) -> None:
    assert finding(checked("rtx4090x4-model-unreadable"), "container.clock")["status"] == "info"


def test_the_vulnerabilities_of_a_toolkit_and_the_first_release_without(
    checked: Callable[[str], dict[str, Any]]
) -> None:
    result = finding(checked("rtx4090x4-toolkit-of-2023"), "docker.toolkit-vulnerable")
    assert "CVE-2024-0132" in result["message"]
    assert "1.19.1 is the first without them" in result["message"]


@pytest.mark.parametrize(
    ("machine", "check", "status", "exit_code", "command"),
    [
        ("rtx4090x4-user-not-in-docker-group", "docker.unreachable", "unknown", 3, "sudo usermod -aG docker jane"),
        ("rtx4090x4-docker-down", "docker.unreachable", "fail", 1, "sudo systemctl start docker"),
        ("rtx4090x4-docker-hangs", "docker.unreachable", "unknown", 3, "sudo systemctl restart docker"),
        ("rtx4090x4-compose-v1-only", "docker.compose-v1", "warn", 0, "sudo apt-get install -y docker-compose-plugin"),
        ("rtx4090x4-docker-is-a-snap", "docker.confined", "fail", 1, "sudo snap remove docker"),
    ],
)
def test_docker_out_of_reach(
    checked: Callable[[str], dict[str, Any]], machine: str, check: str, status: str, exit_code: int, command: str
) -> None:
    report = checked(machine)
    result = finding(report, check)
    assert (result["status"], report["run"]["exit_code"]) == (status, exit_code)
    assert command in commands(result)


@pytest.mark.parametrize("machine", ["rtx4090x4-without-docker", "rtx4090x4-docker-switched-off",
                                     "rtx4090x4-cdi-healthy", "dgx-h100x16-twelve-containers"])
def test_nobody_is_accused_without_reason(checked: Callable[[str], dict[str, Any]], machine: str) -> None:
    report = checked(machine)
    assert problems(report) == set()
    about = [r for r in report["results"] if r["id"].startswith(("docker.", "container.")) and r["status"] == "warn"]
    assert (about, report["run"]["exit_code"]) == ([], 0)


def test_before_the_installation_what_to_install_is_a_note(checked: Callable[[str], dict[str, Any]]) -> None:
    report = checked("rtx4090x4-before-docker")
    assert finding(report, "docker.unreachable")["status"] == "info"
    assert any("nvidia-container-toolkit" in c for c in commands(finding(report, "docker.no-gpu-path")))


def test_the_three_paths_are_on_the_screen(gpudoctor: Command) -> None:
    machine = FOLDER / "rtx4090x4-toolkit-of-2023" / "snapshot.json"
    screen = " ".join(gpudoctor("check", "--snapshot", machine, **DAY).stdout.split())
    assert "--gpus works (hook on the daemon's PATH); runtime: nvidia works (mode legacy); CDI cannot: " in screen


def test_two_specifications_never_contradict(checked: Callable[[str], dict[str, Any]]) -> None:
    result = finding(checked("rtx4090x4-cdi-stale"), "docker.cdi-stale", "nvidia.yaml")
    assert commands(result)[0] == "sudo nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml"
