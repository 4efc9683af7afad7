"""PCIe, NVLink and the NVSwitch fabric: what is a fault and what is how the machine was built."""

from typing import Any

import pytest

from gpudoctor.checking.target import Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda import Cuda, CudaGpu
from gpudoctor.facts.driver import Driver, Package, Packages
from gpudoctor.facts.gpus import Fabric, Gpu, Gpus, Mig, NvLink, PcieLink
from gpudoctor.facts.host import Host, Services, Unit
from gpudoctor.facts.kernel_log import KernelEvent, KernelLog
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.reports.words import message
from gpudoctor.testing import judge_check

NONE = Unavailable("this GPU has none", "not-supported")
H100, H100_PCIE, A100_PCIE = "NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA A100 80GB PCIe"
RTX4090, RTX8000, GH200, GB10 = "NVIDIA GeForce RTX 4090", "Quadro RTX 8000", "NVIDIA GH200 480GB", "NVIDIA GB10"


def links(number: int, up: int, kind: str | None = "switch", remote: str | None = None) -> tuple[NvLink, ...]:
    return tuple(NvLink(link=n, active=n < up, remote_type=kind, remote=remote) for n in range(number))


def statuses(check_id: str, *cards: Gpu, target: Target | None = None, **sections: Any) -> list[str]:
    results = judge_check(check_id, target=target, gpus=Gpus(count=len(cards), gpus=cards), **sections)
    return [r.status for r in results]


def pcie(**facts: Any) -> Gpu:
    base = {"generation": 1, "width": 16, "max_generation": 4, "max_width": 16}
    return Gpu(index=0, name=RTX4090, pci_address="0000:1a:00.0", pcie=PcieLink(**{**base, **facts}))


def bus(**facts: Any) -> Pci:
    device = PciDevice(address="0000:1a:00.0", vendor="10de", device="2684", class_code="0300", **facts)
    return Pci(devices=(device,))


@pytest.mark.parametrize(
    ("card", "sections", "expected"),
    [
        (pcie(), {}, "pass"),
        (pcie(width=8), {}, "warn"),
        (pcie(width=8), {"host": Host(virtual_machine=True)}, "info"),
        (pcie(width=8), {"host": Host(virtual_machine=False)}, "warn"),
        (pcie(width=8, max_width=8), {}, "pass"),
        (pcie(width=8, max_width=8, card_max_width=16), {}, "info"),
        (pcie(width=8, max_width=8), {"pci": bus(link_width=8, max_link_width=16)}, "info"),
        (pcie(width=NONE, max_width=NONE), {"pci": bus(link_width=8, max_link_width=16)}, "info"),
        (pcie(width=NONE, max_width=NONE), {"pci": bus(link_width=16, max_link_width=16)}, "pass"),
        (pcie(width=NONE), {}, "skip"),
        (pcie(width=Unavailable("x", "error")), {}, "unknown"),
    ],
)
def test_lanes(card: Gpu, sections: dict[str, Any], expected: str) -> None:
    assert statuses("gpu.pcie-narrow", card, **sections) == [expected]


def test_an_idle_link_at_generation_1_is_judged_by_no_check() -> None:
    for check_id in ("gpu.pcie-narrow", "gpu.pcie-replays", "gpu.pcie-slow"):
        (found,) = statuses(check_id, pcie(replays=0, replays_later=0, replay_interval_seconds=2.0))
        assert found in ("pass", "skip")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"loaded_generation": 4, "loaded_width": 16}, "pass"),
        ({"loaded_generation": 1, "loaded_width": 16}, "warn"),
        ({"loaded_generation": 4, "loaded_width": 4}, "warn"),
        ({"failure": "did not answer"}, "unknown"),
        ({"refused": "in use"}, "skip"),
    ],
)
def test_link_under_load(result: dict[str, Any], expected: str) -> None:
    assert statuses("gpu.pcie-slow", pcie(), cuda=Cuda(gpus=(CudaGpu(index=0, **result),))) == [expected]
    assert statuses("gpu.pcie-slow", pcie(), cuda=Unavailable("only with --deep", "not-asked")) == ["skip"]


@pytest.mark.parametrize(
    ("later", "width", "expected"), [(1000, 16, "pass"), (1004, 16, "pass"), (1005, 16, "warn"), (1002, 4, "warn")]
)
def test_replays_are_counted_per_lane(later: int, width: int, expected: str) -> None:
    card = pcie(replays=1000, replays_later=later, replay_interval_seconds=2.0, width=width)
    assert statuses("gpu.pcie-replays", card) == [expected]


@pytest.mark.parametrize(
    ("text", "address", "fatal", "expected"),
    [
        ("nvidia 0000:1a:00.0: PCIe Bus Error: severity=Corrected", "0000:1a:00", None, "info"),
        ("nvidia 0000:1a:00.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal)", "0000:1a:00", False, "warn"),
        ("nvidia 0000:1a:00.0: AER: can't recover (no error_detected callback)", "0000:1a:00", None, "warn"),
        ("pcieport 0000:00:03.1: PCIe Bus Error: severity=Uncorrected (Fatal)", "0000:00:03", True, "warn"),
        ("pcieport 0000:00:1d.0: PCIe Bus Error: severity=Uncorrected (Fatal)", "0000:00:1d", True, "pass"),
    ],
)
def test_error_reports_on_the_way_to_the_gpu(text: str, address: str, fatal: bool | None, expected: str) -> None:
    event = KernelEvent(kind="pcie-error", address=address, fatal=fatal, text=text)
    log = KernelLog(source="kmsg", from_boot=True, events=(event,))
    card = pcie(replays=0, replays_later=0, replay_interval_seconds=2.0)
    assert statuses("gpu.pcie-replays", card, kernel_log=log, pci=bus(upstream=("0000:00:03.1",))) == [expected]


def row(name: str, *up: int, number: int = 18, **facts: Any) -> tuple[Gpu, ...]:
    return tuple(Gpu(index=n, name=name, nvlinks=links(number, count), **facts) for n, count in enumerate(up))


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        (row(H100, 18, 18, 18), ["pass"] * 3),
        (row(H100, 18, 17, 18), ["pass", "fail", "pass"]),
        (row(H100, 18, 0, 18), ["pass", "fail", "pass"]),
        (row(H100, 0, 0, 0), ["fail"] * 3),
        (row(H100, 0), ["info"]),
        (row("NVIDIA A100-SXM4-80GB", 4, 4, number=12), ["pass"] * 2),
        (row(A100_PCIE, 4, number=12), ["pass"]),
        (row(A100_PCIE, 12, 12, 0, number=12), ["pass", "pass", "info"]),
        (row(A100_PCIE, 12, 8, number=12), ["pass", "fail"]),
        (row(RTX8000, 0, 0, number=2), ["info"] * 2),
        (row(GH200, 0), ["info"]),
        (row("A card of next year", 0, 0), ["info"] * 2),
        (row("A card of next year", 4, 2), ["pass", "warn"]),
        ((Gpu(index=0, name=RTX4090, nvlinks=NONE),), ["skip"]),
        ((Gpu(index=0, name=H100, nvlinks=Unavailable("x", "error")),), ["unknown"]),
        ((*row(H100, 18), Gpu(index=1, name=H100, nvlinks=links(18, 0), mig=Mig(enabled=True, pending=True))),
         ["pass", "skip"]),
    ],
)
def test_nvlinks_are_compared_with_the_neighbours(cards: tuple[Gpu, ...], expected: list[str]) -> None:
    assert statuses("gpu.nvlink-down", *cards) == expected


def test_a_down_link_on_a_gpu_that_was_not_chosen() -> None:
    assert statuses("gpu.nvlink-down", *row(H100, 18, 17), target=Target(gpus=(0,))) == ["pass", "warn"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"crc_errors": 5, "crc_errors_later": 5, "interval_seconds": 2.0}, "pass"),
        ({"crc_errors": 5, "crc_errors_later": 6, "interval_seconds": 2.0}, "warn"),
        ({"crc_errors": 5, "crc_errors_later": 205, "interval_seconds": 2.0}, "fail"),
        ({"crc_errors": 5, "crc_errors_later": 0, "interval_seconds": 2.0}, "pass"),
        ({"replay_errors": 4}, "info"),
        ({}, "pass"),
    ],
)
def test_nvlink_errors(facts: dict[str, Any], expected: str) -> None:
    card = Gpu(index=0, name=H100, nvlinks=(NvLink(link=0, active=True, **facts), NvLink(link=1, active=False)))
    assert statuses("gpu.nvlink-errors", card) == [expected]


def test_nvlink_errors_without_links() -> None:
    assert statuses("gpu.nvlink-errors", *row(H100, 0)) == ["skip"]
    assert statuses("gpu.nvlink-errors", Gpu(index=0, name=RTX4090, nvlinks=NONE)) == ["skip"]


def no_nvlink(*cards: Gpu, **target: Any) -> tuple[str, str]:
    (result,) = judge_check("gpu.no-nvlink", target=Target(**target), gpus=Gpus(gpus=cards))
    return result.status, message(result.finding)


def test_cards_without_nvlink_are_told_from_a_missing_bridge() -> None:
    link = PcieLink(generation=1, width=8, max_generation=4, max_width=8)
    two = tuple(Gpu(index=n, name=RTX4090, nvlinks=NONE, pcie=link) for n in range(2))
    assert no_nvlink(*two) == (
        "info",
        "no NVLink exists on NVIDIA GeForce RTX 4090: GPUs 0, 1 exchange data over PCIe (GPU 0: 4.0 x8, GPU 1: 4.0 x8)",
    )
    status, text = no_nvlink(*row(RTX8000, 0, 0, number=2))
    assert status == "info"
    assert "no NVLink bridge is active on Quadro RTX 8000" in text


def test_what_nvlink_joins() -> None:
    assert no_nvlink(*row(H100, 18, 18))[0] == "pass"
    assert no_nvlink(*row(H100, 18))[0] == "skip"
    assert no_nvlink(*row(H100, 18, 18), gpus=(1,))[0] == "skip"
    mixed = (*row(H100, 18, 18), Gpu(index=2, name=H100_PCIE, nvlinks=links(12, 0)))
    status, text = no_nvlink(*mixed)
    assert (status, "only: 0+1;" in text) == ("info", True)
    assert no_nvlink(*mixed, gpus=(0, 1))[0] == "pass"
    pairs = tuple(
        Gpu(index=n, name=A100_PCIE, pci_address=f"0000:{n:02x}:00.0",
            nvlinks=links(12, 12, "gpu", f"00000000:{n ^ 1:02X}:00.0"))
        for n in range(4)
    )
    status, text = no_nvlink(*pairs)
    assert (status, "only: 0+1, 2+3;" in text) == ("info", True)
    assert no_nvlink(*pairs, gpus=(2, 3))[0] == "pass"
    untold = tuple(Gpu(index=n, name=A100_PCIE, nvlinks=links(12, 12, None)) for n in range(2))
    assert no_nvlink(*untold)[0] == "pass"


def switches(count: int) -> Pci:
    return Pci(devices=tuple(
        PciDevice(address=f"0000:c{n}:00.0", vendor="10de", device="22a3", class_code="0680") for n in range(count)
    ))


def manager(active: str) -> Services:
    return Services(units=(Unit(name="nvidia-fabricmanager.service", load="loaded", active=active),))


def registered(state: int, result: int = 0, name: str = H100) -> Gpu:
    return Gpu(index=0, name=name, fabric=Fabric(state=state, result=result))


@pytest.mark.parametrize(
    ("card", "sections", "expected"),
    [
        (registered(1), {"pci": switches(4), "services": Services()}, "fail"),
        (registered(2), {"pci": switches(4), "services": manager("failed")}, "fail"),
        (registered(2), {"pci": switches(4), "services": manager("active")}, "pass"),
        (registered(3), {"pci": switches(4), "services": Services()}, "pass"),
        (registered(1), {"pci": switches(4), "services": Unavailable("no systemd", "error")}, "unknown"),
        (Gpu(index=0, name="NVIDIA A100-SXM4-80GB", fabric=NONE), {"pci": switches(6), "services": Services()}, "fail"),
        (Gpu(index=0, name=GH200, fabric=NONE), {"pci": switches(0), "services": Services()}, "skip"),
        (Gpu(index=0, name=GB10, fabric=NONE), {"pci": switches(0), "services": Services()}, "skip"),
        (Gpu(index=0, name=A100_PCIE, fabric=NONE), {"pci": switches(0), "services": Services()}, "skip"),
        (registered(3), {"pci": switches(0), "services": Services()}, "skip"),
    ],
)
def test_fabric_manager_is_wanted_where_there_are_switches(card: Gpu, sections: dict[str, Any], expected: str) -> None:
    assert statuses("gpu.fabric-manager-missing", card, **sections) == [expected]


def test_before_the_install_it_is_something_to_install() -> None:
    (result,) = judge_check(
        "gpu.fabric-manager-missing", target=Target(stage="pre-install"), pci=switches(4), services=Services(),
        gpus=Unavailable("no driver", "error"), host=Host(os_id="ubuntu"),
    )
    assert result.status == "info"
    assert result.finding.fix


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        (Package(name="nvidia-fabricmanager-580", version="580.95.05-1"), "pass"),
        (Package(name="nvidia-fabricmanager", version="580.95.05-1"), "pass"),
        (Package(name="nvidia-fabric-manager", version="3:580.82.07-1.el9"), "fail"),
        (Package(name="nvidia-fabricmanager-580", version="580.82.07-0ubuntu0.22.04.1"), "fail"),
        (Package(name="nvidia-fabricmanager-dev-580", version="580.82.07-1"), "skip"),
        (Package(name="nvidia-driver-580", version="580.95.05-1"), "skip"),
    ],
)
def test_fabric_manager_version(package: Package, expected: str) -> None:
    packages = Packages(manager="apt", installed=(package,))
    driver = Driver(loaded_version="580.95.05")
    found = statuses("gpu.fabric-manager-mismatch", pci=switches(4), packages=packages, driver=driver)
    assert found == [expected]
    assert statuses("gpu.fabric-manager-mismatch", pci=switches(0), packages=packages, driver=driver) == ["skip"]


@pytest.mark.parametrize(
    ("card", "uptime", "expected"),
    [
        (registered(3), 9000.0, "pass"),
        (registered(3, 18), 9000.0, "fail"),
        (registered(2), 100.0, "warn"),
        (registered(1), 100.0, "warn"),
        (registered(2), 301.0, "fail"),
        (registered(2), None, "fail"),
        (registered(0), 9000.0, "skip"),
        (registered(1, name=GH200), 9000.0, "skip"),
        (registered(2, name=GB10), 9000.0, "skip"),
        (registered(2, name=H100_PCIE), 9000.0, "skip"),
        (Gpu(index=0, name=H100, fabric=NONE), 9000.0, "skip"),
    ],
)
def test_registration_with_the_fabric(card: Gpu, uptime: float | None, expected: str) -> None:
    host = Host() if uptime is None else Host(uptime_seconds=uptime)
    assert statuses("gpu.fabric-not-ready", card, host=host) == [expected]
