"""pci.no-gpu on hand-made facts."""

from typing import Any

from gpudoctor.checking.target import Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.reports import words
from gpudoctor.testing import judge_check


def bus(count: int, *, vendor: str = "10de", driver: str | None = "nvidia") -> Pci:
    return Pci(devices=tuple(PciDevice(address=f"0000:{n + 1:02x}:00.0", vendor=vendor, device="20b2",
                                       class_code="1200" if vendor == "1002" else "0302", driver=driver)
                              for n in range(count)))


def nvml(count: int) -> Gpus:
    return Gpus(count=count, gpus=tuple(Gpu(index=n, pci_address=f"00000000:{n + 1:02X}:00.0") for n in range(count)))


def status(**facts: Any) -> str:
    return " ".join(r.status for r in judge_check("pci.no-gpu", **{"host": Host(), **facts}))


def test_counts() -> None:
    assert status(pci=bus(2), gpus=nvml(2)) == "pass"
    assert status(pci=bus(2), gpus=nvml(1)) == "fail"
    assert status(pci=bus(0), gpus=nvml(0)) == "fail"
    assert status(pci=bus(0), gpus=nvml(0), target=Target(expect_gpus=0)) == "skip"
    assert status(pci=bus(0), gpus=nvml(1)) == "pass"
    assert status(pci=bus(1, vendor="1002"), gpus=Gpus(error_code=12)) == "pass"


def test_which_one_is_missing_is_named_whatever_the_spelling() -> None:
    [found] = judge_check("pci.no-gpu", pci=bus(2), gpus=nvml(1), host=Host())
    assert words.message(found.finding).endswith("missing 0000:02:00.0")


def test_no_driver_does_not_make_a_gpu_lost() -> None:
    assert status(pci=bus(1, driver=None), gpus=Gpus(error_code=9)) == "pass"
    assert status(pci=bus(1), gpus=Unavailable("hung", "timeout")) == "pass"


def test_a_container_sees_the_whole_bus_and_is_given_some() -> None:
    assert status(pci=bus(8), gpus=nvml(2), host=Host(container="docker")) == "pass"


def test_gpus_of_virtual_machines_are_not_missing() -> None:
    mixed = Pci(devices=(*bus(1).devices, PciDevice(address="0000:09:00.0", vendor="10de", device="20b2",
                                                   class_code="0302", driver="vfio-pci")))
    assert status(pci=mixed, gpus=nvml(1)) == "pass"


def test_under_wsl_the_bus_says_nothing() -> None:
    assert status(pci=Pci(), gpus=Gpus(error_code=9), host=Host(wsl=True)) == "skip"
    assert status(pci=Pci(), gpus=nvml(1), host=Host(wsl=True)) == "pass"


def test_a_bus_that_cannot_be_read_is_not_an_empty_one() -> None:
    assert status(pci=Unavailable("sysfs is not there", "error"), gpus=nvml(0)) == "unknown"
