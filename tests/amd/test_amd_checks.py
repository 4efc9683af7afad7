"""The AMD checks, rule by rule and guard by guard."""

from typing import Any

import msgspec
import pytest

from gpudoctor.checking.finding import Result
from gpudoctor.checking.target import EngineWish, Target
from gpudoctor.facts.amd import Amd, AmdGpu, AmdNode
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.testing import judge_check

HOST = Host(os_id="ubuntu", os_like=("debian",), virtual_machine=False, user_name="jane", group_ids=(1000, 998))
UNREADABLE = Unavailable("no permission to read it", "no-permission")
KFD = AmdNode(path="/dev/kfd", mode=0o660, gid=993, group="render", accessible=True)
RENDER = msgspec.structs.replace(KFD, path="/dev/dri/renderD128")
MI300 = AmdGpu(
    address="0000:11:00.0", device="74a1", name="MI300X", gfx="gfx942", ras_uncorrected=0, ras_corrected=0, bad_pages=0,
    temperature_celsius=45.0, critical_celsius=100.0,
)
AMD = Amd(module_loaded=True, module_version="6.10", nodes=(KFD, RENDER), rocm_version="6.4.1", gpus=(MI300,))


def bus(*devices: str, iommu: str = "passthrough", vendor: str = "1002", driver: str | None = "amdgpu") -> Pci:
    return Pci(
        devices=tuple(
            PciDevice(address=f"0000:{17 + n:02x}:00.0", vendor=vendor, device=device, class_code="0300", driver=driver)
            for n, device in enumerate(devices)
        ),
        iommu=iommu,
    )


ONE = bus("74a1")


def judge(check: str, **given: Any) -> list[Result]:
    return judge_check(f"amd.{check}", **{"host": HOST, "pci": ONE, "amd": AMD, **given})


def status(check: str, **given: Any) -> list[str]:
    return [result.status for result in judge(check, **given)]


ALL = ("driver-missing", "no-access", "rocm-too-old", "unhealthy", "iommu")


@pytest.mark.parametrize("check", ALL)
@pytest.mark.parametrize(
    "pci",
    [
        pytest.param(bus("2204", vendor="10de"), id="nvidia only"),
        pytest.param(bus("164e"), id="processor graphics"),
        pytest.param(bus("515e", driver="radeon"), id="a server's display chip"),
        pytest.param(bus("7777"), id="an id nobody knows"),
        pytest.param(bus("74a1", driver="vfio-pci"), id="given to a virtual machine"),
        pytest.param(
            Pci(devices=(*bus("2204", vendor="10de").devices, *bus("1586").devices)), id="Ryzen AI beside NVIDIA"
        ),
    ],
)
def test_what_is_no_gpu_for_models_is_skipped(check: str, pci: Pci) -> None:
    bare = Amd(module_loaded=False)
    assert status(check, pci=pci, amd=bare) == ["skip"]


def test_ryzen_ai_alone_is_judged() -> None:
    assert status("driver-missing", pci=bus("1586"), amd=Amd(module_loaded=False)) == ["fail"]


@pytest.mark.parametrize("check", ALL)
def test_a_healthy_machine_passes_with_evidence(check: str) -> None:
    for result in judge(check, pci=bus("74a1", "74a1")):
        assert result.status == "pass"
        assert result.finding.evidence


def test_the_gatekeeper_says_when_nothing_could_be_read() -> None:
    assert status("driver-missing", amd=UNREADABLE) == ["unknown"]
    assert status("driver-missing", amd=Unavailable("no AMD GPU", "not-applicable"), pci=bus()) == ["skip"]


def test_driver_missing() -> None:
    bare = Amd(module_loaded=False)
    (result,) = judge("driver-missing", amd=bare)
    assert result.status == "fail"
    assert any("modprobe" in (step.command or "") for step in result.finding.fix)
    assert status("driver-missing", amd=bare, target=Target(stage="pre-install")) == ["info"]


def test_missing_nodes_are_the_hosts_or_the_containers_matter() -> None:
    without = msgspec.structs.replace(AMD, nodes=(RENDER,))
    (result,) = judge("driver-missing", amd=without)
    assert (result.status, result.finding.params["missing"]) == ("fail", ("/dev/kfd",))
    inside = msgspec.structs.replace(HOST, container="docker")
    (result,) = judge("driver-missing", amd=msgspec.structs.replace(AMD, nodes=()), host=inside)
    assert "--device /dev/kfd" in result.finding.fix[0].text


@pytest.mark.parametrize("os_id", ["ubuntu", "rhel", "nixos", "arch"])
def test_the_remedy_fits_the_distribution(os_id: str) -> None:
    host = Host(os_id=os_id)
    (result,) = judge("driver-missing", amd=Amd(module_loaded=False), host=host)
    commands = " ".join(step.command or "" for step in result.finding.fix)
    word = {"ubuntu": "apt", "rhel": "dnf", "nixos": "nixos-rebuild", "arch": "modprobe"}[os_id]
    assert word in commands
    assert (os_id == "ubuntu") == ("apt" in commands)


CLOSED = msgspec.structs.replace(KFD, accessible=False)


def test_a_user_in_docker_but_not_in_render_is_told_the_group() -> None:
    (result,) = judge("no-access", amd=msgspec.structs.replace(AMD, nodes=(CLOSED, RENDER)))
    assert result.status == "fail"
    assert result.finding.params["paths"] == ("/dev/kfd",)
    assert result.finding.fix[0].params["groups"] == "render"


def test_inside_a_container_the_number_counts() -> None:
    numeric = msgspec.structs.replace(CLOSED, group=None, gid=109)
    host = msgspec.structs.replace(HOST, container="docker")
    (result,) = judge("no-access", amd=msgspec.structs.replace(AMD, nodes=(numeric,)), host=host)
    assert result.finding.params["owners"] == ("group 109",)
    assert result.finding.fix[0].params["gids"] == (109,)


def test_nodes_that_no_group_may_open_need_udev_rules() -> None:
    roots = msgspec.structs.replace(CLOSED, gid=0, group="root", mode=0o600)
    (result,) = judge("no-access", amd=msgspec.structs.replace(AMD, nodes=(roots,)))
    assert "udev" in (result.finding.fix[0].command or "")


def test_missing_nodes_are_not_reported_twice() -> None:
    assert status("no-access", amd=msgspec.structs.replace(AMD, nodes=())) == ["skip"]


@pytest.mark.parametrize(
    ("version", "gfx", "expected"),
    [
        ("6.2.4", "gfx942", "fail"),
        ("6.3", "gfx942", "pass"),
        ("6.10.0", "gfx942", "pass"),
        ("6.4.1", "gfx950", "fail"),
        ("7.0", "gfx950", "pass"),
        ("7.0.0", "gfx1151", "fail"),
        ("7.0.2", "gfx1151", "pass"),
        (None, "gfx942", "skip"),
    ],
)
def test_rocm_against_the_gpu(version: str | None, gfx: str, expected: str) -> None:
    gpu = msgspec.structs.replace(MI300, gfx=gfx)
    assert status("rocm-too-old", amd=msgspec.structs.replace(AMD, rocm_version=version, gpus=(gpu,))) == [expected]


def test_an_engine_that_brings_its_own_rocm_only_gets_a_warning() -> None:
    old = msgspec.structs.replace(AMD, rocm_version="6.0")
    assert status("rocm-too-old", amd=old, target=Target(engines=(EngineWish("ollama"),))) == ["warn"]
    assert status("rocm-too-old", amd=old, target=Target(engines=(EngineWish("vllm"),))) == ["fail"]


def test_vllm_without_kernels_for_a_gpu() -> None:
    w6800 = msgspec.structs.replace(AMD, gpus=(msgspec.structs.replace(MI300, gfx="gfx1030"),))
    assert status("rocm-too-old", amd=w6800, target=Target(engines=(EngineWish("vllm"),))) == ["warn", "pass"]
    assert status("rocm-too-old", amd=w6800, target=Target(engines=(EngineWish("ollama"),))) == ["pass"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "pass"),
        ({"ras_uncorrected": 1}, "fail"),
        ({"ras_corrected": 9}, "pass"),
        ({"ras_corrected": 30_000_000}, "warn"),
        ({"bad_pages": 3}, "info"),
        ({"temperature_celsius": 100.0}, "fail"),
        ({"temperature_celsius": 93.0}, "info"),
        ({"critical_celsius": 0.0}, "pass"),
        ({"failure": "did not answer within 10 s"}, "fail"),
    ],
)
def test_health(changes: dict[str, Any], expected: str) -> None:
    gpu = msgspec.structs.replace(MI300, **changes)
    assert status("unhealthy", amd=msgspec.structs.replace(AMD, gpus=(gpu,))) == [expected]


def test_a_gpu_without_any_figure_is_not_called_healthy() -> None:
    silent = AmdGpu(address="0000:11:00.0", device="74a1")
    assert status("unhealthy", amd=msgspec.structs.replace(AMD, gpus=(silent,))) == ["skip"]
    assert status("unhealthy", amd=msgspec.structs.replace(AMD, gpus=())) == ["unknown"]


def test_no_driver_is_not_reported_as_bad_health() -> None:
    assert status("unhealthy", amd=Amd(module_loaded=False)) == ["skip"]


@pytest.mark.parametrize(
    ("pci", "virtual", "expected"),
    [
        (bus("74a1", "74a1", iommu="translated"), False, "warn"),
        (bus("74a1", "74a1", iommu="translated"), True, "skip"),
        (bus("74a1", iommu="translated"), False, "skip"),
        (bus("74a1", "74a1", iommu="off"), False, "pass"),
        (bus("74a1", "164e", iommu="translated"), False, "skip"),
    ],
)
def test_iommu(pci: Pci, virtual: bool, expected: str) -> None:
    assert status("iommu", pci=pci, host=msgspec.structs.replace(HOST, virtual_machine=virtual)) == [expected]
