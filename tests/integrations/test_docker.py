"""The plugin under the real Docker CLI, and the stand-alone health check on stand-in drivers and in real containers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import rig_images
import standin
from rig import Engine
from rig_doubles import Toolkit

SCRIPT = Path(__file__).parents[2] / "integrations" / "docker" / "gpudoctor-healthcheck"
Command = Callable[..., subprocess.CompletedProcess[str]]


def health(*words: str, path: str = os.defpath, **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        ["/bin/sh", str(SCRIPT), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={"PATH": path, **variables}, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.fixture
def driver(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return the environment in which there is a stand-in driver with four GPUs."""

    def of(*lines: str) -> dict[str, str]:
        return standin.stand_in(tmp_path, standin.machine("4x-quadro-rtx-8000", *lines))

    return of


@pytest.mark.tier("gcc")
def test_gpus_that_answer_are_healthy(driver: Callable[..., dict[str, str]]) -> None:
    assert health(**driver()) == (0, "GPUs that answer: 4\n")


@pytest.mark.tier("gcc")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("fail.nvmlInitWithFlags = 999", "nvmlInit_v2: code 999, Unknown Error\n"),
        ("gpu.3.fail.nvmlDeviceGetMemoryInfo = 15", "nvmlDeviceGetMemoryInfo: code 15, stand-in error\n"),
        ("count = 0", "no GPU in this container\n"),
        ("gpu.3.hang.nvmlDeviceGetMemoryInfo = 1", "the driver does not answer\n"),
    ],
)
def test_lost_gpus_are_unhealthy(driver: Callable[..., dict[str, str]], line: str, said: str) -> None:
    assert health(**driver(line)) == (1, said)


@pytest.mark.tier("gcc")
@pytest.mark.parametrize(("number", "code"), [("4", 0), ("2", 1), ("two", 1)])
def test_a_number_is_held_to(driver: Callable[..., dict[str, str]], number: str, code: int) -> None:
    assert health(number, **driver())[0] == code


def test_a_container_without_driver_is_unhealthy() -> None:
    code, said = health(LD_LIBRARY_PATH="/nowhere")
    assert (code, said.count("\n")) == (1, 1)


@pytest.fixture
def without_python(tmp_path: Path) -> Callable[..., str]:
    """Return a PATH with no Python, and perhaps an nvidia-smi that says and ends as told."""

    def of(said: str | None = None, code: int = 0) -> str:
        folder = tmp_path / "bin"
        folder.mkdir()
        if said is not None:
            (folder / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '%s' '{said}'\nexit {code}\n")
            (folder / "nvidia-smi").chmod(0o755)
        return str(folder)

    return of


@pytest.fixture(autouse=True)
def _no_other_python(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Leave the script only PATH to look in, where a test is about an image without Python."""
    if "without_python" in request.fixturenames:
        script = tmp_path / "script"
        text = SCRIPT.read_text()
        known = "python3 /usr/bin/python3 /opt/venv/bin/python3 python"
        assert known in text
        script.write_text(text.replace(known, "python3 python"))
        monkeypatch.setattr(sys.modules[__name__], "SCRIPT", script)


ONE = "GPU 0: Quadro RTX 8000 (UUID: GPU-11111111-2222-3333-4444-555555555555)\n"


@pytest.mark.parametrize(
    ("said", "code", "healthy", "told"),
    [
        (ONE, 0, 0, "GPUs that answer: 1\n"),
        ("Failed to initialize NVML: Unknown Error\n", 255, 1,
         "nvidia-smi: Failed to initialize NVML: Unknown Error\n"),
        (ONE + "Unable to determine the device handle for gpu 0000:1b:00.0: GPU is lost.\n", 0, 1,
         "nvidia-smi: Unable to determine the device handle for gpu 0000:1b:00.0: GPU is lost.\n"),
        ("", 0, 1, "no GPU in this container\n"),
        ("", 6, 1, "nvidia-smi: ended with code 6\n"),
    ],
)  # fmt: skip
def test_without_python_it_asks_nvidia_smi(
    without_python: Callable[..., str], said: str, code: int, healthy: int, told: str
) -> None:
    assert health(path=without_python(said, code)) == (healthy, told)


def test_with_neither_nothing_is_called_healthy(without_python: Callable[..., str]) -> None:
    assert health(path=without_python()) == (1, "not known: neither a Python 3 nor nvidia-smi in this container\n")


@pytest.mark.tier("docker")
@pytest.mark.parametrize("image", [rig_images.PYTHON, rig_images.GLIBC])
def test_docker_calls_a_container_with_gpus_healthy(equipped_engine: Engine, toolkit: Toolkit, image: str) -> None:
    assert status(equipped_engine, image, "--gpus", "all") == "healthy"


@pytest.mark.tier("docker")
@pytest.mark.parametrize("image", [rig_images.PYTHON, rig_images.GLIBC])
def test_docker_calls_a_container_without_gpus_unhealthy(equipped_engine: Engine, toolkit: Toolkit, image: str) -> None:
    assert status(equipped_engine, image) == "unhealthy"


def status(engine: Engine, image: str, *options: str) -> str:
    """Start a container with the health check, and return what Docker calls it after the first one."""
    run = engine.cli(
        "run", "-d", "--network", "none", *options, "-v", f"{SCRIPT}:/probe:ro", "--health-cmd", "/bin/sh /probe",
        "--health-interval", "1s", "--health-timeout", "20s", "--health-retries", "1", image, "sleep", "1000",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    name = run.stdout.strip()
    try:
        for _ in range(300):
            told = engine.cli("inspect", "-f", "{{.State.Health.Status}}", name).stdout.strip()
            if told != "starting":
                return told
    finally:
        engine.cli("rm", "-f", name)
    return "starting"


@pytest.fixture
def docker(gpudoctor: Command, tmp_path: Path) -> Command:
    """Docker's own command line with the plugin installed, and no engine."""
    program = shutil.which("docker")
    assert program is not None
    plugins = tmp_path / "cli-plugins"
    assert gpudoctor("integrate", "docker-plugin", "-o", plugins).returncode == 0

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
        return subprocess.run(
            [program, *words], capture_output=True, text=True, check=False, env=environment, timeout=60
        )

    return run


@pytest.mark.tier("docker")
def test_docker_lists_the_plugin(docker: Command) -> None:
    plugins = json.loads(docker("info", "-f", "{{json .ClientInfo.Plugins}}").stdout)
    [ours] = [each for each in plugins if each["Name"] == "gpudoctor"]
    assert not ours.get("Err")
    assert ours["ShortDescription"] == "Is this machine ready to run language models?"


@pytest.mark.tier("docker")
@pytest.mark.parametrize(("machine", "code"), [("h100x8-healthy", 0), ("h100x8-gpu-off-the-bus", 1)])
def test_docker_hands_on_words_and_exit_code(docker: Command, machine: str, code: int) -> None:
    snapshot = Path(__file__).parents[2] / "fixtures" / machine / "snapshot.json"
    done = docker("gpudoctor", "check", "--no-config", "--only", "gpu", "--json", "--snapshot", str(snapshot))
    assert (done.returncode, json.loads(done.stdout)["run"]["exit_code"]) == (code, code)
