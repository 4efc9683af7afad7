"""What docker inspect says of a container's request is judged without the machine that it runs on."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def results(gpudoctor: Command, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Judge the docker inspect of a running container, and return what is said by id; pass and skip left out."""

    def run(image: str, name: str = "/llm", state: str = "running", **of_host: Any) -> dict[str, Any]:
        told = {
            "Id": "c7" * 32, "Created": "2025-09-01T10:00:00Z", "Path": "serve", "Args": [], "Image": "sha256:aa",
            "State": {"Status": state, "Running": state == "running", "Pid": 42, "ExitCode": 0,
                      "StartedAt": "2025-09-01T10:00:01Z", "FinishedAt": "0001-01-01T00:00:00Z"},
            "Name": name, "HostConfig": {"Runtime": "runc", "DeviceRequests": None, "Devices": [], **of_host},
            "Config": {"Image": image, "User": "", "Env": ["NVIDIA_VISIBLE_DEVICES=all"], "Cmd": [], "Labels": {}},
            "Mounts": [],
        }  # fmt: skip
        (tmp_path / "inspect.txt").write_text("$ docker inspect llm\n" + json.dumps([told], indent=4))
        report = json.loads(gpudoctor("diagnose", "inspect.txt", "--json", cwd=tmp_path).stdout)
        return {each["id"]: each for each in report["results"] if each["status"] not in ("pass", "skip")}

    return run


def test_an_engine_for_which_nobody_asked_a_gpu(results: Callable[..., dict[str, Any]]) -> None:
    found = results("vllm/vllm-openai:v0.10.1")["container.gpu-invisible"]
    assert (found["status"], found["subject"]) == ("fail", "container:llm")


@pytest.mark.parametrize(
    ("image", "of_host"),
    [
        ("vllm/vllm-openai:v0.10.1", {"DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]}),
        ("vllm/vllm-openai:v0.10.1", {"Runtime": "nvidia"}),
        ("vllm/vllm-openai:v0.10.1", {"Privileged": True}),
        ("rocm/vllm:latest", {"Devices": [{"PathOnHost": "/dev/kfd", "PathInContainer": "/dev/kfd"}]}),
        ("ollama/ollama:rocm", {}),
        ("postgres:16", {}),
    ],
)
def test_nobody_else_is_accused(results: Callable[..., dict[str, Any]], image: str, of_host: dict[str, Any]) -> None:
    assert "container.gpu-invisible" not in results(image, **of_host)


def test_a_paste_of_which_nothing_can_be_judged_is_no_pass(results: Callable[..., dict[str, Any]]) -> None:
    assert results("vllm/vllm-openai:v0.10.1", state="exited")["serving.load-failed"]["status"] == "unknown"


HOSTILE = "/a\x1b]0;owned\x07\x1b[31m$(reboot)`id`\nFAIL    driver.not-loaded [red]x[/]"


def test_a_hostile_name_reaches_no_terminal(
    gpudoctor: Command, results: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    results("vllm/vllm-openai:v0.10.1", name=HOSTILE)
    shown = gpudoctor("diagnose", "inspect.txt", cwd=tmp_path).stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert not any(line.startswith("FAIL    driver") for line in shown.splitlines())
    assert not any(line.strip().startswith("docker ") and "$(reboot)" in line and "'" not in line
                   for line in shown.splitlines())  # fmt: skip
