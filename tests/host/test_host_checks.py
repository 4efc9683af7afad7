"""The host checks on memory, limits, clock and console, rule by rule and guard by guard."""

from typing import Any

import msgspec
import pytest

from gpudoctor.checking.finding import Result
from gpudoctor.checking.target import EngineWish, Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Container, Containers, PublishedPort
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Clock, Host, Limits, Locale, Memory
from gpudoctor.facts.kernel_log import KernelEvent, KernelLog
from gpudoctor.facts.network import FabricPort, FabricPorts, Listener, Processes
from gpudoctor.facts.pci import Pci, PciBridge, PciDevice
from gpudoctor.testing import judge_check

GIB = 2**30
HOST = Host(os_id="ubuntu", os_like=("debian",), virtual_machine=False, cgroup_version="2")
INSIDE = msgspec.structs.replace(HOST, container="docker")
HIDDEN = Unavailable("no permission to read it", "no-permission")
NONE_HERE = Unavailable("this machine has none", "not-applicable")
CARDS = Gpus(gpus=tuple(Gpu(index=n, memory_total_bytes=80 * GIB) for n in range(4)))


def judge(check: str, **given: Any) -> list[Result]:
    return judge_check(f"host.{check}", **{"host": HOST, **given})


def status(check: str, **given: Any) -> list[str]:
    return [result.status for result in judge(check, **given)]


@pytest.mark.parametrize(
    ("check", "section"),
    [
        ("ram-short", "memory"), ("disk-short", "storage"), ("disk-failing", "disk_health"),
        ("port-taken", "processes"), ("fabric-link", "fabric_ports"), ("limits-low", "limits"),
        ("clock-unsynced", "clock"), ("locale-not-utf8", "locale"), ("cgroup-v1", "host"),
    ],
)
def test_a_gatekeeper_never_lets_a_failed_look_be_green(check: str, section: str) -> None:
    assert status(check, **{section: HIDDEN}) == ["unknown"]
    assert status(check, **{section: NONE_HERE}) == ["skip"]
    (result,) = judge(check, **{section: HIDDEN})
    assert result.finding.params["reason"] == HIDDEN.reason


def memory(**changes: Any) -> Memory:
    return msgspec.structs.replace(Memory(total_bytes=512 * GIB, available_bytes=400 * GIB), **changes)


def test_memory() -> None:
    assert status("ram-short", memory=memory(), gpus=CARDS) == ["pass"]
    assert status("ram-short", memory=memory(available_bytes=2 * GIB), gpus=CARDS) == ["warn"]
    assert status("ram-short", memory=memory(total_bytes=256 * GIB), gpus=CARDS) == ["info"]
    assert status("ram-short", memory=memory(total_bytes=256 * GIB), gpus=HIDDEN) == ["pass"]
    assert status("ram-short", memory=memory(total_bytes=256 * GIB), gpus=CARDS, target=Target(gpus=(0,))) == ["pass"]


def test_a_container_limit_below_the_machines_memory_is_what_counts() -> None:
    limited = memory(cgroup_limit_bytes=16 * GIB, cgroup_used_bytes=15 * GIB)
    (result,) = judge("ram-short", memory=limited, gpus=HIDDEN)
    assert result.status == "warn"
    assert "limit" in result.finding.message
    assert result.finding.params["available"] == GIB
    wide = memory(cgroup_limit_bytes=1024 * GIB, cgroup_used_bytes=None)
    assert status("ram-short", memory=wide, gpus=HIDDEN) == ["pass"]


def test_swap_matters_only_where_a_model_can_be_larger_than_memory() -> None:
    assert status("swap-none", memory=memory(), gpus=CARDS) == ["pass"]
    assert status("swap-none", memory=memory(swap_total_bytes=GIB, total_bytes=GIB), gpus=CARDS) == ["pass"]
    assert status("swap-none", memory=memory(total_bytes=64 * GIB), gpus=CARDS) == ["info"]
    assert status("swap-none", memory=memory(cgroup_limit_bytes=64 * GIB), gpus=CARDS) == ["info"]
    assert status("swap-none", memory=memory(total_bytes=GIB), gpus=Gpus()) == ["skip"]


def kill(text: str, process: str | None = "vllm", **changes: Any) -> KernelEvent:
    return KernelEvent(kind="oom-kill", text=text, process=process, **changes)


def log(*events: KernelEvent) -> KernelLog:
    return KernelLog(source="kmsg", from_boot=True, events=events)


def test_oom_kills_name_their_victims() -> None:
    assert status("oom-kills", kernel_log=log()) == ["pass"]
    assert status("oom-kills", kernel_log=log(kill("Out of memory", boot=-1))) == ["pass"]
    killed = log(kill("Out of memory: Killed process 7 (vllm)", count=2), kill("Out of memory", "java"))
    (result,) = judge("oom-kills", kernel_log=killed)
    assert result.finding.params == {"victims": ("java", "vllm"), "n": 3}


def test_a_containers_limit_is_told_from_the_machines() -> None:
    grouped = kill("Memory cgroup out of memory: Killed process 7 (ollama)", "ollama")
    (result,) = judge("oom-kills", kernel_log=log(grouped))
    assert "container or service" in result.finding.message
    assert status("oom-kills", kernel_log=log(grouped, kill("Out of memory"))) == ["warn", "warn"]


def limits(**changes: Any) -> Limits:
    plain = Limits(
        memlock_soft_bytes=65536, memlock_hard_bytes=65536, open_files_soft=1024, open_files_hard=1048576,
        shm_bytes=GIB * 64,
    )
    return msgspec.structs.replace(plain, **changes)


ACTIVE = FabricPort(device="mlx5_0", port=1, state="ACTIVE", physical_state="LinkUp", rate_gbps=400.0,
                    link_layer="InfiniBand")


def test_a_low_soft_limit_is_normal_and_a_low_hard_one_is_not() -> None:
    nothing = {"fabric_ports": FabricPorts(), "gpus": CARDS}
    assert status("limits-low", limits=limits(), **nothing) == ["pass"]
    assert status("limits-low", limits=limits(open_files_hard=4096), **nothing) == ["warn"]
    assert status("limits-low", limits=limits(open_files_hard=None), **nothing) == ["pass"]
    assert status("limits-low", limits=limits(pids_max=500), **nothing) == ["warn"]


def test_locked_memory_matters_only_for_rdma() -> None:
    assert status("limits-low", limits=limits(), fabric_ports=FabricPorts(ports=(ACTIVE,)), gpus=CARDS) == ["warn"]
    assert status("limits-low", limits=limits(), fabric_ports=NONE_HERE, gpus=CARDS) == ["pass"]
    unlimited = limits(memlock_soft_bytes=None)
    assert status("limits-low", limits=unlimited, fabric_ports=FabricPorts(ports=(ACTIVE,)), gpus=CARDS) == ["pass"]


def test_shared_memory_matters_only_in_a_container_with_several_gpus() -> None:
    small = limits(shm_bytes=64 * 2**20)
    inside = {"host": INSIDE, "fabric_ports": NONE_HERE}
    assert status("limits-low", limits=small, gpus=CARDS, **inside) == ["warn"]
    assert status("limits-low", limits=small, gpus=CARDS, fabric_ports=NONE_HERE) == ["pass"]
    assert status("limits-low", limits=small, gpus=CARDS, target=Target(gpus=(0,)), **inside) == ["pass"]
    assert status("limits-low", limits=limits(shm_bytes=NONE_HERE), gpus=CARDS, **inside) == ["pass"]


@pytest.mark.parametrize(
    ("clock", "host", "expected"),
    [
        (Clock(synchronized=True), HOST, "pass"),
        (Clock(synchronized=False), HOST, "warn"),
        (Clock(synchronized=False), msgspec.structs.replace(HOST, wsl=True), "skip"),
        (Clock(synchronized=HIDDEN), HOST, "unknown"),
        (Clock(synchronized=NONE_HERE), HOST, "skip"),
    ],
)
def test_clock(clock: Clock, host: Host, expected: str) -> None:
    assert status("clock-unsynced", clock=clock, host=host) == [expected]


def test_a_container_is_not_told_to_install_a_time_service() -> None:
    (result,) = judge("clock-unsynced", clock=Clock(synchronized=False), host=INSIDE)
    assert [step.command for step in result.finding.fix] == [None]


@pytest.mark.parametrize(
    ("value", "encoding", "expected"),
    [
        ("en_US.UTF-8", "UTF-8", "pass"),
        ("ko_KR.utf8", "utf8", "pass"),
        ("", "ASCII", "info"),
        ("C", "ASCII", "info"),
        ("ko_KR.cp949", "CP949", "warn"),
        ("ko_KR.EUC-KR", "EUC-KR", "warn"),
        ("de_DE@euro", "", "warn"),
        ("en_US.UTF-8", "ASCII", "warn"),
    ],
)
def test_console(value: str, encoding: str, expected: str) -> None:
    locale = Locale(variable="LANG", value=value, encoding=encoding)
    assert status("locale-not-utf8", locale=locale) == [expected]


def test_a_locale_that_is_not_installed_is_said_so() -> None:
    (result,) = judge("locale-not-utf8", locale=Locale(variable="LANG", value="en_US.UTF-8", encoding="ASCII"))
    assert "not installed" in result.finding.message
    assert "locale-gen" in (result.finding.fix[0].command or "")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "pass"),
        ({"cgroup_version": "1"}, "warn"),
        ({"cgroup_version": "hybrid"}, "warn"),
        ({"cgroup_version": "1", "container": "docker"}, "skip"),
        ({"cgroup_version": Unavailable("not mounted", "not-supported")}, "skip"),
    ],
)
def test_control_groups(changes: dict[str, Any], expected: str) -> None:
    assert status("cgroup-v1", host=msgspec.structs.replace(HOST, **changes)) == [expected]


def processes(*listeners: Listener, **changes: Any) -> Processes:
    return msgspec.structs.replace(Processes(listeners=listeners), **changes)


VLLM = Target(engines=(EngineWish("vllm"),))
NGINX = Listener(port=8000, address="0.0.0.0", pid=7, process="nginx")


def test_ports() -> None:
    assert status("port-taken", processes=processes(NGINX)) == ["skip"]
    assert status("port-taken", processes=processes(), target=VLLM) == ["pass"]
    (result,) = judge("port-taken", processes=processes(NGINX), target=VLLM)
    assert result.status == "fail"
    assert (result.finding.params["process"], result.finding.params["pid"]) == ("nginx", 7)
    hidden = msgspec.structs.replace(NGINX, pid=None, process=None)
    assert status("port-taken", processes=processes(hidden), target=VLLM) == ["fail"]
    assert status("port-taken", processes=processes(NGINX), target=Target(ports=(8000, 8001))) == ["fail", "pass"]


def test_an_engine_that_runs_already_is_no_collision() -> None:
    own = msgspec.structs.replace(NGINX, process="vllm")
    assert status("port-taken", processes=processes(own), target=VLLM) == ["pass"]
    published = msgspec.structs.replace(NGINX, process="docker-proxy")
    assert status("port-taken", processes=processes(published, engines=("vllm",)), target=VLLM) == ["pass"]
    assert status("port-taken", processes=processes(published), target=VLLM) == ["fail"]
    assert status("port-taken", processes=processes(own), target=Target(engines=(EngineWish("ollama"),))) == ["pass"]


def test_a_port_is_taken_by_the_container_that_publishes_it() -> None:
    hidden = Listener(port=8000, address="0.0.0.0")
    port = PublishedPort(host_port=8000, container_port=80)

    def box(image: str) -> Containers:
        return Containers(containers=(Container(id="a", name="web", image=image, ports=(port,)),))

    (result,) = judge("port-taken", processes=processes(hidden), target=VLLM, containers=box("nginx:1"))
    assert result.status == "fail"
    assert result.finding.params["container"] == "web"
    assert status("port-taken", processes=processes(hidden), target=VLLM,
                  containers=box("vllm/vllm-openai:v0.33.0")) == ["pass"]


def test_ollamas_own_port_setting_counts() -> None:
    host = msgspec.structs.replace(HOST, environment={"OLLAMA_HOST": "0.0.0.0:8000"})
    assert status("port-taken", processes=processes(NGINX), host=host,
                  target=Target(engines=(EngineWish("ollama"),))) == ["fail"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "pass"),
        ({"state": "DOWN", "physical_state": "Polling"}, "warn"),
        ({"state": "DOWN", "physical_state": "Disabled"}, "info"),
        ({"state": "DOWN", "physical_state": "Polling", "link_layer": "Ethernet"}, "info"),
        ({"state": "INIT"}, "warn"),
        ({"rate_gbps": 25.0}, "warn"),
        ({"rate_gbps": 25.0, "link_layer": "Ethernet"}, "pass"),
        ({"rate_gbps": None}, "pass"),
    ],
)
def test_fabric(changes: dict[str, Any], expected: str) -> None:
    ports = FabricPorts(ports=(msgspec.structs.replace(ACTIVE, **changes),))
    assert status("fabric-link", fabric_ports=ports) == [expected]
    assert status("fabric-link", fabric_ports=FabricPorts()) == ["skip"]


def bus(switch: bool | Unavailable, *, cards: int = 2, root_port: bool = True, iommu: str = "off") -> Pci:
    return Pci(
        devices=tuple(
            PciDevice(address=f"0000:{n:02x}:00.0", vendor="10de", device="20b5", class_code="0302",
                      upstream=("0000:01:00.0", "0000:00:01.0"))
            for n in range(10, 10 + cards)
        ),
        bridges=(
            PciBridge(address="0000:01:00.0", acs_redirect=switch),
            PciBridge(address="0000:00:01.0", acs_redirect=root_port),
        ),
        iommu=iommu,
    )


def test_acs() -> None:
    (result,) = judge("acs-on", pci=bus(True))
    assert (result.status, result.finding.params["ports"]) == ("warn", ("0000:01:00.0",))
    assert status("acs-on", pci=bus(False)) == ["pass"]
    assert status("acs-on", pci=bus(False, iommu="translated")) == ["warn"]
    assert status("acs-on", pci=bus(True, cards=1)) == ["skip"]
    assert status("acs-on", pci=bus(True), host=msgspec.structs.replace(HOST, virtual_machine=True)) == ["skip"]
    assert status("acs-on", pci=bus(HIDDEN)) == ["unknown"]
    assert status("acs-on", pci=bus(Unavailable("no ACS", "not-supported"))) == ["pass"]


def test_monitoring() -> None:
    gpus = {"pci": bus(False)}
    assert status("monitoring-absent", processes=processes(exporters=("dcgm-exporter",)), **gpus) == ["pass"]
    assert status("monitoring-absent", processes=processes(), **gpus) == ["info"]
    assert status("monitoring-absent", processes=processes(exporters=("node_exporter",)), **gpus) == ["info"]
    assert status("monitoring-absent", processes=processes(), pci=Pci()) == ["skip"]
    assert status("monitoring-absent", processes=processes(), host=INSIDE, **gpus) == ["skip"]
    assert status("monitoring-absent", processes=processes(), target=Target(stage="pre-install"), **gpus) == ["skip"]
