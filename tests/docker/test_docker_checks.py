"""Docker's and containers' checks on hand-made facts: what is known, what is likely, and what cannot be said."""

from typing import Any

import pytest
from msgspec.structs import replace

from gpudoctor.checking.finding import Result
from gpudoctor.checking.target import EngineWish, Target
from gpudoctor.facts.base import Reason, Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.container_toolkit import CdiSpec, ContainerToolkit
from gpudoctor.facts.docker import Container, ContainerMount, Containers, DeviceRequest, Docker, ImageFacts, Runtime
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpu, Gpus, Mig
from gpudoctor.facts.host import Clock, Services, Unit
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.judging.device_loss import prediction
from gpudoctor.judging.image_requirement import satisfied
from gpudoctor.testing import judge_check

PCI = Pci(devices=(PciDevice(address="0000:1a:00.0", vendor="10de", device="1e78", class_code="0302"),))
NO_GPU = Pci(devices=())
DRIVER = Driver(loaded_version="535.247.01", loaded_flavour="proprietary")
ALL = (DeviceRequest(count=-1, capabilities=("gpu",)),)
ENGINE = Docker(endpoint="unix:///var/run/docker.sock", version="26.1.5", cgroup_driver="systemd", cgroup_version="2",
                runtimes=(Runtime(name="nvidia", path="nvidia-container-runtime"), Runtime(name="runc")))
KIT = ContainerToolkit(installed=True, version="1.17.8", systemd_version="252", char_links=())
PTS = ("char-pts", "/dev/char/1:3")
LISTED = (*PTS, "/dev/char/195:0", "/dev/char/195:255")
START, BEFORE, AFTER = "2026-11-12T08:00:00.123456789Z", "2026-11-11T00:00:00Z", "2026-11-13T00:00:00Z"
V2 = Unavailable("kept in a program of the kernel", "not-supported")


def running(**changes: Any) -> Container:
    base = Container(id="1", name="c", image="vllm/vllm-openai:v0.10.2", started=START, requests=ALL,
                     device_allow=PTS, device_nodes=("nvidia0", "nvidiactl", "nvidia-uvm"), device_rights=V2,
                     nvidia_mounts=("/usr/lib/x86_64-linux-gnu/libcuda.so.535.247.01",))
    return replace(base, **changes)


# ---- docker.unreachable: which


@pytest.mark.parametrize(
    ("kind", "unit", "wanted", "status"),
    [
        ("not-applicable", None, False, "skip"),
        ("not-applicable", None, True, "fail"),
        ("not-recorded", None, False, "skip"),
        ("no-permission", None, False, "unknown"),
        ("no-permission", None, True, "fail"),
        ("timeout", "active enabled", False, "unknown"),
        ("error", "inactive enabled", False, "fail"),
        ("error", "failed disabled", False, "fail"),
        ("error", "inactive disabled", False, "info"),
        ("error", "inactive disabled", True, "fail"),
        # Nothing says whether it is meant to run.
        ("error", None, False, "unknown"),
        ("crashed", "active enabled", False, "fail"),
    ],
)
def test_docker_that_does_not_answer(kind: Reason, unit: str | None, wanted: bool, status: str) -> None:
    active, _, enabled = (unit or "").partition(" ")
    units = (Unit(name="docker.service", load="loaded", active=active, enabled=enabled),) if unit else ()
    target = Target(engines=(EngineWish("vllm", None, "vllm/vllm-openai"),) if wanted else ())
    found = judge_check("docker.unreachable", target=target, docker=Unavailable("the reason", kind),
                        services=Services(units=units), container_toolkit=KIT)
    assert [r.status for r in found] == [status]


def test_a_compose_file_wants_docker() -> None:
    found = judge_check("docker.unreachable", docker=Unavailable("none", "not-applicable"), compose=Compose())
    assert [r.status for r in found] == ["fail"]


# ---- device loss: the rows measured with real systemd and engines


@pytest.mark.parametrize(
    ("row", "systemd", "docker", "container", "links", "reload", "update"),
    [
        ("252, --gpus", "252", {}, {}, (), True, True),
        ("252, runtime: nvidia legacy", "252", {},
         {"requests": (), "runtime": "nvidia", "environment": {"NVIDIA_VISIBLE_DEVICES": "all"}}, (), True, True),
        ("252, --device without links", "252", {"runc_version": "1.1.5"},
         {"devices": ("/dev/nvidia0", "/dev/nvidiactl")}, (), True, True),
        ("252, --device with links", "252", {"runc_version": "1.1.5"},
         {"devices": ("/dev/nvidia0", "/dev/nvidiactl"), "device_allow": LISTED}, ("195:0", "195:255"), False, False),
        ("252, cgroupfs", "252", {"cgroup_driver": "cgroupfs"}, {"device_allow": V2}, (), False, None),
        ("257, --gpus", "257.9-1", {"runc_version": "1.1.15"}, {}, (), False, True),
        ("257, CDI", "257", {}, {"requests": (DeviceRequest(driver="cdi", device_ids=("nvidia.com/gpu=all",)),),
                                 "device_allow": LISTED}, (), False, False),
        ("257, --device without links", "257", {"runc_version": "1.1.15"},
         {"devices": ("/dev/nvidia0", "/dev/nvidiactl"), "device_allow": LISTED}, (), False, False),
        # Between what was measured, and where nothing is known, nothing is claimed.
        ("255, --gpus", "255.4-1ubuntu8", {}, {}, (), None, True),
        ("219, --gpus", "219", {}, {}, (), False, True),
        ("unknown systemd", None, {}, {}, (), None, True),
        ("privileged", "252", {}, {"privileged": True, "device_allow": ("*",)}, (), False, False),
        ("only one of two GPUs listed", "252", {},
         {"device_allow": LISTED, "device_nodes": ("nvidia0", "nvidia1", "nvidiactl")}, (), True, True),
        ("scope unreadable, CDI", "252", {"runc_version": "1.3.6"}, {"requests": (), "devices": ("nvidia.com/gpu=0",),
                                                                    "device_allow": V2}, (), False, False),
        ("scope unreadable, CDI, runc window", "252", {"runc_version": "1.1.5-0+deb12u1"},
         {"requests": (), "devices": ("nvidia.com/gpu=0",), "device_allow": V2}, (), True, True),
        ("scope unreadable, --gpus", "252", {}, {"device_allow": V2}, (), True, True),
        ("without root", "252", {"cgroup_driver": "none", "kind": "rootless"}, {"device_allow": V2}, (), False, False),
        ("engine says nothing", "252", {"cgroup_driver": Unavailable("cut short")}, {"device_allow": V2}, (), None,
         None),
    ],
    ids=lambda value: value if isinstance(value, str) and (" " in value or value.isalpha()) else "",
)
def test_what_takes_the_gpus(
    row: str, systemd: str | None, docker: dict[str, Any], container: dict[str, Any], links: tuple[str, ...],
    reload: bool | None, update: bool | None,
) -> None:
    found = prediction(replace(ENGINE, **docker), running(**container),
                       replace(KIT, systemd_version=systemd, char_links=links))
    assert (found.reload, found.update) == (reload, update), row


def lost(container: Container, *, reloads: Any = (), driver: Driver = DRIVER, toolkit: Any = KIT) -> Result:
    [found] = judge_check("container.gpu-lost", docker=ENGINE, container_toolkit=toolkit, driver=driver,
                          containers=Containers(containers=(container,), reloads=reloads))
    return found


@pytest.mark.parametrize(
    ("changes", "reloads", "status", "words"),
    [
        ({"device_rights": "denied"}, (AFTER,), "fail", "reloaded"),
        ({"device_rights": "denied"}, (BEFORE,), "fail", "does not let it open"),
        ({"device_rights": "allowed"}, (AFTER,), "pass", "holds"),
        # Version 2 cannot be read: the trigger and the list make it likely, never sure.
        ({}, (BEFORE, AFTER), "fail", "most likely"),
        ({}, (BEFORE,), "pass", "holds"),
        ({}, Unavailable("no permission to read the journal", "no-permission"), "unknown", "cannot be seen"),
        ({"device_allow": LISTED}, (AFTER,), "pass", "holds"),
        # The same words of NVML, another cause: root made nvidiactl itself, nothing was injected.
        ({"device_nodes": ("nvidiactl",), "nvidia_mounts": ()}, (AFTER,), "skip", "never got"),
        ({"device_nodes": Unavailable("only root sees them", "no-permission")}, (), "unknown", "only root"),
        ({"nvidia_mounts": ("/usr/lib/libcuda.so.550.54.14",)}, (), "fail", "550.54.14"),
    ],
)
def test_a_container_that_lost_its_gpus(changes: dict[str, Any], reloads: Any, status: str, words: str) -> None:
    found = lost(running(**changes), reloads=reloads)
    message = found.finding.message.format_map({**found.finding.params})
    assert (found.status, words in message) == (status, True), message


def test_a_dead_driver_accuses_no_container() -> None:
    found = lost(running(device_rights="denied"), driver=replace(DRIVER, loaded_version=None))
    assert found.status == "skip"


def test_every_other_cause_of_unknown_error_is_ruled_in_or_out() -> None:
    seen = {e.what: str(e.value) for e in lost(running(device_rights="denied"), reloads=(AFTER,)).finding.evidence}
    assert seen["nothing injected"].startswith("ruled out")
    assert seen["device cgroup"].startswith("ruled in")
    assert seen["library of another version"].startswith("ruled out")
    assert AFTER in seen["systemd reloaded"]


# ---- containers without GPUs


@pytest.mark.parametrize(
    ("changes", "pci", "expected"),
    [
        ({}, PCI, ["pass"]),
        ({}, NO_GPU, ["skip"]),
        ({"requests": (), "device_nodes": ()}, PCI, ["fail"]),
        ({"requests": (), "device_nodes": (), "image": "ollama/ollama:0.33.0"}, PCI, ["warn"]),
        ({"requests": (), "device_nodes": (), "image": "nginx"}, PCI, ["skip"]),
        ({"environment": {"CUDA_VISIBLE_DEVICES": "0"}}, PCI, ["pass"]),
        ({"environment": {"CUDA_VISIBLE_DEVICES": "1"}}, PCI, ["fail"]),
        ({"environment": {"CUDA_VISIBLE_DEVICES": ""}}, PCI, ["fail"]),
        ({"environment": {"CUDA_VISIBLE_DEVICES": "GPU-1234"}}, PCI, ["pass"]),
        ({"device_nodes": (), "nvidia_mounts": ()}, PCI, ["fail"]),
        ({"device_nodes": Unavailable("only root sees them", "no-permission")}, PCI, ["unknown"]),
        ({"state": "exited", "pid": None}, PCI, ["skip"]),
    ],
)
def test_a_container_without_gpu(changes: dict[str, Any], pci: Pci, expected: list[str]) -> None:
    found = judge_check("container.gpu-invisible", docker=ENGINE, container_toolkit=KIT, driver=DRIVER, pci=pci,
                        containers=Containers(containers=(running(**changes),)))
    assert [r.status for r in found] == expected


def test_a_container_that_the_engine_did_not_tell_about_is_unknown() -> None:
    silent = Container(id="1", name="c", failure="it did not answer in time")
    [found] = judge_check("container.gpu-invisible", docker=ENGINE, pci=PCI, driver=DRIVER,
                          containers=Containers(containers=(silent,)))
    assert (found.subject, found.status) == ("container:c", "unknown")


@pytest.mark.parametrize(("exit_code", "expected"), [(0, "skip"), (128, "fail")])
def test_a_container_that_did_its_work_is_left_alone(exit_code: int, expected: str) -> None:
    ended = running(state="exited", exit_code=exit_code)
    [found] = judge_check("docker.gpu-path-missing", docker=replace(ENGINE, runtimes=()), pci=PCI,
                          container_toolkit=ContainerToolkit(version=None),
                          containers=Containers(containers=(ended,)))
    assert found.status == expected


def test_containers_that_could_not_be_read_are_unknown() -> None:
    [found] = judge_check("container.gpu-invisible", docker=ENGINE, containers=Unavailable("cut short"), pci=PCI)
    assert found.status == "unknown"


@pytest.mark.parametrize(
    ("ids", "nodes", "expected"),
    [
        (("0",), ("nvidia4", "nvidiactl"), "pass"),  # the host's GPU 0 has the minor number 4
        (("0",), ("nvidia0", "nvidiactl"), "fail"),
        (("GPU-aaaa",), ("nvidia4", "nvidiactl"), "pass"),
        (("GPU-ffff",), (), "fail"),
        (("1",), (), "fail"),
        (("MIG-1",), ("nvidia4",), "pass"),
    ],
)
def test_gpus_asked_for_against_those_inside(ids: tuple[str, ...], nodes: tuple[str, ...], expected: str) -> None:
    asked = (DeviceRequest(device_ids=ids, capabilities=("gpu",)),)
    gpus = Gpus(gpus=(Gpu(index=0, name="Quadro RTX 8000", uuid="GPU-aaaa-bbbb", minor=4),))
    [found] = judge_check("container.wrong-gpus", docker=ENGINE, gpus=gpus,
                          containers=Containers(containers=(running(requests=asked, device_nodes=nodes),)))
    assert found.status == expected


# ---- what else a container may lack


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"shm_size_bytes": 64 << 20, "command": ("serve", "m", "-tp", "2")}, "fail"),
        ({"shm_size_bytes": 64 << 20, "command": ("serve", "m", "--tensor-parallel-size=1")}, "pass"),
        ({"shm_size_bytes": 64 << 20, "device_nodes": ("nvidia0", "nvidia1")}, "warn"),
        ({"shm_size_bytes": 64 << 20}, "pass"),
        ({"shm_size_bytes": 16 << 30, "device_nodes": ("nvidia0", "nvidia1")}, "pass"),
        ({"shm_size_bytes": 64 << 20, "ipc_mode": "host", "device_nodes": ("nvidia0", "nvidia1")}, "pass"),
        ({"shm_size_bytes": 64 << 20, "image": "ollama/ollama", "device_nodes": ("nvidia0", "nvidia1")}, "skip"),
        ({"device_nodes": ("nvidia0", "nvidia1")}, "skip"),
    ],
)
def test_shared_memory(changes: dict[str, Any], expected: str) -> None:
    [found] = judge_check("container.shm-too-small", containers=Containers(containers=(running(**changes),)))
    assert found.status == expected


@pytest.mark.parametrize(
    ("user", "owner", "group", "mode", "expected"),
    [
        ("1000:1000", 0, 0, 0o750, "fail"),
        ("1000", 0, 0, 0o700, "fail"),
        ("1000", 0, 0, 0o750, "skip"),  # the image may give it group 0
        ("1000", 0, 0, 0o755, "pass"),
        ("1000", 1000, 0, 0o700, "pass"),
        ("1000:2000", 0, 2000, 0o750, "pass"),
        ("1000:1000", 0, 2000, 0o750, "fail"),
        ("", 0, 0, 0o700, "pass"),
        ("vllm", 0, 0, 0o700, "skip"),
    ],
)
def test_a_model_folder_and_its_reader(user: str, owner: int, group: int, mode: int, expected: str) -> None:
    mount = ContainerMount(source="/모델/큰 것", destination="/m", owner_uid=owner, owner_gid=group, mode=mode)
    [found] = judge_check("container.model-unreadable",
                          containers=Containers(containers=(running(user=user, mounts=(mount,)),)))
    assert found.status == expected


@pytest.mark.parametrize(
    ("inside", "expected"),
    [("UTC", "info"), ("Asia/Seoul", "pass"), ("Europe/Berlin", "info"), ("KST-9", "skip"),
     (Unavailable("only root sees it", "no-permission"), "skip")],
)
def test_a_clock_is_a_note_and_never_more(inside: Any, expected: str) -> None:
    [found] = judge_check("container.clock", docker=ENGINE, clock=Clock(time_zone="Asia/Seoul"),
                          containers=Containers(containers=(running(time_zone=inside),)))
    assert found.status == expected


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("cuda>=12.2", True),
        ("cuda>=12.3", False),
        ("cuda>=13.0 driver>=535,driver<536", True),
        ("cuda>=13.0 brand=tesla,driver>=535,driver<536", None),
        ("cuda>=13.0 brand=tesla,driver>=580", False),
        ("", None),
        ("rm -rf /", None),
        ("cuda>=" + "9" * 32, False),
    ],
)
def test_an_images_requirement(requirement: str, expected: bool | None) -> None:
    assert satisfied(requirement, "12.2", "535.247.01") is expected


@pytest.mark.parametrize(("state", "expected"), [("exited", "fail"), ("running", "info")])
def test_an_image_for_a_newer_cuda(state: str, expected: str) -> None:
    facts = ImageFacts(requires="cuda>=12.8", asks_for_gpus=True)
    [found] = judge_check("container.image-cuda", docker=ENGINE, driver=DRIVER,
                          containers=Containers(containers=(running(state=state, image_facts=facts),)))
    assert found.status == expected


# ---- the toolkit


@pytest.mark.parametrize(
    ("version", "bugs", "cves"),
    [("1.13.5", "warn", "warn"), ("1.17.8-1", "warn", "warn"), ("1.19.1", "warn", "pass"), ("1.20.2", "pass", "pass"),
     (None, "skip", "skip"), ("(none)", "unknown", "unknown"), (Unavailable("cut short"), "unknown", "unknown"),
     ("9" * 5000, "unknown", "unknown")],
)
def test_a_toolkits_release(version: Any, bugs: str, cves: str) -> None:
    kit = ContainerToolkit(version=version, libnvidia_container_version=version)
    assert [r.status for r in judge_check("docker.toolkit-known-bug", container_toolkit=kit)] == [bugs]
    assert [r.status for r in judge_check("docker.toolkit-vulnerable", container_toolkit=kit)] == [cves]


# ---- docker.cdi-stale and MIG


NAMES = ("0", "1", "all")


@pytest.mark.parametrize(
    ("names", "mig", "counts"),
    [
        (("0:0", "0:1", *NAMES), Mig(enabled=True, pending=True, instances=2), None),
        # A GPU instance that is divided into two compute instances.
        (("0:0", "0:1", "0:2", *NAMES), Mig(enabled=True, pending=True, instances=2), None),
        (("mig0:0", "gpu0", "gpu1", "all"), Mig(enabled=True, pending=True, instances=2), (1, 2)),
        (NAMES, Mig(enabled=True, pending=True, instances=2), (0, 2)),
        (("0:0", *NAMES), Mig(enabled=False, pending=False), (1, 0)),
        (("0:0", *NAMES), Mig(enabled=True, pending=True, instances=0), (1, 0)),
        (NAMES, Mig(enabled=False, pending=False), None),
        # Not known, or not by number: nothing is claimed.
        (NAMES, Mig(enabled=True, pending=True), None),
        (("GPU-0", "MIG-7", "all"), Mig(enabled=True, pending=True, instances=2), None),
        (("0:0", *NAMES), Unavailable("not said"), None),
    ],
)
def test_a_specification_of_another_mig_layout(
    names: tuple[str, ...], mig: Any, counts: tuple[int, int] | None
) -> None:
    spec = CdiSpec(path="/etc/cdi/nvidia.yaml", kind="nvidia.com/gpu", devices=names)
    off = Mig(enabled=False, pending=False)
    [found] = judge_check("docker.cdi-stale", container_toolkit=replace(KIT, cdi_specs=(spec,)), docker=ENGINE, pci=PCI,
                          driver=DRIVER, gpus=Gpus(gpus=(Gpu(index=0, mig=mig), Gpu(index=1, mig=off))))
    told = found.finding.params
    assert (found.status, (told.get("listed"), told.get("instances"))) == (
        ("pass", (None, None)) if counts is None else ("warn", counts))


# ---- what runs in containers is what the stack is judged for


@pytest.mark.parametrize(
    ("changes", "target", "expected"),
    [
        ({"image": "vllm/vllm-openai:v0.33.0"}, Target(), [("container:c", "fail")]),
        ({"image": "vllm/vllm-openai:v0.33.0", "requests": ()}, Target(), [("host", "skip")]),
        ({"image": "vllm/vllm-openai:v0.33.0", "state": "exited"}, Target(), [("host", "skip")]),
        ({"image": "vllm/vllm-openai:latest"}, Target(), [("container:c", "skip")]),
        ({"image": "vllm/vllm-openai:v0.33.0"}, Target(engines=(EngineWish("ollama", "0.11.10"),)), [("host", "pass")]),
    ],
)
def test_engines_in_running_containers_count(
    changes: dict[str, Any], target: Target, expected: list[tuple[str, str]]
) -> None:
    card = Gpu(index=0, name="NVIDIA GeForce RTX 3090", compute_capability=(8, 6))
    gpus = Gpus(driver_version="535.247.01", gpus=(card,))
    found = judge_check("engine.driver-too-old", target=target, gpus=gpus, driver=DRIVER, pci=PCI,
                        containers=Containers(containers=(running(**changes),)))
    assert [(r.subject, r.status) for r in found] == expected
