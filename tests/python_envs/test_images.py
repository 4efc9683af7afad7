"""Engines inside container images on disk are found, and accused of nothing until they run."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs, PythonPackage
from gpudoctor.probes.root import Root
from gpudoctor.probes.runner import ProbeSpec, run_probes
from gpudoctor.testing import judge_check

SPEC = ProbeSpec(name="python envs", modules=("python_envs",), sections=("python_envs",), patience=5)


def take(root: Root) -> PythonEnvs:
    answer = run_probes([SPEC], root=root.prefix)[0]
    assert answer.missing == {}
    return msgspec.convert({"status": "recorded", **answer.sections["python_envs"]}, PythonEnvs)


@pytest.mark.parametrize(
    ("daemon", "layer"),
    [
        ("{}", "var/lib/docker/overlay2/0123456789abcdef/diff"),
        ('{"data-root": "/data/docker"}', "data/docker/overlay2/0123456789abcdef/diff"),
        ("{}", "var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs"),
    ],
)
def test_an_engine_in_a_layer_is_found(root: Root, tmp_path: Path, make: Any, daemon: str, layer: str) -> None:
    make.write(tmp_path / "etc/docker/daemon.json", daemon)
    site = tmp_path / layer / "usr/local/lib/python3.12/dist-packages"
    make.dist(site, "vllm", "0.10.1", files={"vllm/__init__.py": b""})
    found = [each for each in take(root).environments if each.in_image]
    assert [(each.path, [p.name for p in each.engines]) for each in found] == [("/usr/local", ["vllm"])]
    assert str(found[0].container).startswith("image:")


def test_a_layer_without_engine_or_torch_is_left_aside(root: Root, tmp_path: Path, make: Any) -> None:
    site = tmp_path / "var/lib/docker/overlay2/0123/diff/usr/local/lib/python3.12/dist-packages"
    make.dist(site, "requests", "2.32.0", files={"requests/__init__.py": b""})
    assert [each for each in take(root).environments if each.in_image] == []


def test_an_image_is_told_of_and_not_judged() -> None:
    layer = PythonEnvironment(
        path="/usr/local", kind="system", found=("image",), container="image:0123",
        packages=(PythonPackage(name="vllm", version="0.33.0"),),
    )
    pci = Pci(devices=(PciDevice(address="0000:1a:00.0", vendor="10de", device="1e30", class_code="0300"),))
    gpus = Gpus(driver_version="535.247.01", gpus=(Gpu(index=0, name="Quadro RTX 8000", compute_capability=(7, 5)),))
    results = judge_check("torch.cpu-only", python_envs=PythonEnvs(environments=(layer,)), pci=pci, gpus=gpus)
    assert ("info", {"engines": ("vllm 0.33.0",)}) in [(r.status, dict(r.finding.params)) for r in results]
    for check in ("engine.driver-too-old", "stack.cuda-too-new", "engine.gpu-unsupported"):
        judged = judge_check(check, python_envs=PythonEnvs(environments=(layer,)), pci=pci, gpus=gpus)
        assert {r.status for r in judged} & {"fail", "warn"} == set()
