"""The doubles against real engines: what they inject is decided by the kernel, not by them."""

from pathlib import Path

import pytest
import rig_images
from rig import Engine
from rig_doubles import Toolkit

pytestmark = pytest.mark.tier("docker")


def smi(engine: Engine, *options: str) -> tuple[int, str]:
    done = engine.cli("run", "--rm", "--network", "none", *options, rig_images.GLIBC, "nvidia-smi", "-L")
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        (["--gpus", "all"], [0, 1, 2, 3]),
        (["--gpus", "2"], [0, 1]),
        (["--gpus", '"device=0,2"'], [0, 2]),
        (["--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=3"], [3]),
    ],
)
def test_hook_and_runtime_bring_the_gpus_asked_for(
    equipped_engine: Engine, toolkit: Toolkit, options: list[str], gpus: list[int]
) -> None:
    code, said = smi(equipped_engine, *options)
    assert (code, said.count("Quadro RTX 8000")) == (0, len(gpus)), said
    assert [gpu for gpu in range(4) if toolkit.uuids[gpu] in said] == gpus


def test_the_field_failure(equipped_engine: Engine, toolkit: Toolkit) -> None:
    toolkit.switch("skip-device-cgroup")
    assert smi(equipped_engine, "--gpus", "all")[0] == 0
    code, said = smi(equipped_engine, "--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=all")
    assert (code, said) == (255, "Failed to initialize NVML: Unknown Error\n")


def test_cdi_brings_them_too(cdi_engine: Engine) -> None:
    code, said = smi(cdi_engine, "--device", "nvidia.com/gpu=1", "--device", "nvidia.com/gpu=3")
    assert (code, said.count("GPU ")) == (0, 2), said


def test_a_stale_cdi_spec_stops_the_container(cdi_engine: Engine, cdi_folder: Path, toolkit: Toolkit) -> None:
    try:
        toolkit.write_cdi(cdi_folder / "nvidia.json", driver="535.183.01")
        cdi_engine.restart()
        code, said = smi(cdi_engine, "--device", "nvidia.com/gpu=0")
    finally:
        toolkit.write_cdi(cdi_folder / "nvidia.json")
        cdi_engine.restart()
    assert code != 0
    assert "libnvidia-ml.so.535.183.01" in said


def test_a_failing_hook_is_quoted_by_the_engine(equipped_engine: Engine, toolkit: Toolkit) -> None:
    toolkit.switch("hook-fails", "nvidia-container-cli: initialization error: nvml error: driver not loaded")
    code, said = smi(equipped_engine, "--gpus", "all")
    assert (code, "nvml error: driver not loaded" in said) == (125, True), said
