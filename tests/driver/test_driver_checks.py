"""The driver checks on hand-made facts: each rule, and each accusation that must not be made."""

from typing import Any

import msgspec
import pytest

from gpudoctor.checking.finding import Result
from gpudoctor.checking.policy import default_policy
from gpudoctor.checking.target import Target, parse_engine
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda import Cuda
from gpudoctor.facts.driver import (
    DeviceNode,
    DkmsBuild,
    Driver,
    Kernel,
    KernelModule,
    Library,
    ModuleFile,
    ModuleInfo,
    Package,
    Packages,
    ProcGpu,
)
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host, Services, Unit
from gpudoctor.facts.kernel_log import EventKind, KernelEvent, KernelLog
from gpudoctor.facts.network import Processes
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.reports import words
from gpudoctor.testing import judge_check

HANG = Unavailable("did not answer within 10 s in nvmlInit", "timeout")
SECRET = Unavailable("no permission to read /dev/kmsg", "no-permission")
KERNEL, NEXT = "5.15.0-160-generic", "5.15.0-171-generic"
INSTALLING = Target(stage="pre-install")
UBUNTU = Host(os_id="ubuntu", os_like=("debian",), kernel_release=KERNEL, user_id=1000)
RHEL = Host(os_id="rhel", os_like=("fedora",), kernel_release=KERNEL)
NIXOS = Host(os_id="nixos", kernel_release=KERNEL)
CONTAINER = msgspec.structs.replace(UBUNTU, container="docker")
WSL = msgspec.structs.replace(UBUNTU, wsl=True)
A100, V100, RTX5090, GH200, NOBODY = "20b2", "1db5", "2b85", "2342", "ffff"
EMPTY_LOG = KernelLog(source="journal", from_boot=True)


def bus(*ids: str, driver: str | None = "nvidia", vendor: str = "10de", iommu: str = "off") -> Pci:
    kind = "1200" if vendor == "1002" else "0302"
    devices = tuple(PciDevice(address=f"0000:{n + 1:02x}:00.0", vendor=vendor, device=each, class_code=kind,
                              driver=driver) for n, each in enumerate(ids or (A100,)))
    return Pci(devices=devices, iommu=iommu)


def nvml(count: int = 1, version: str = "580.95.05", **each: Any) -> Gpus:
    return Gpus(driver_version=version, count=count, gpus=tuple(
        Gpu(index=n, pci_address=f"00000000:{n + 1:02X}:00.0", **each) for n in range(count)))


def library(path: str, version: str | None, origin: str = "loader-cache", soname: str = "libnvidia-ml.so.1",
            *, stub: bool = False) -> Library:
    return Library(soname=soname, path=path, real_path=f"{path}.{version}", origin=origin, version=version, stub=stub)


def node(path: str, *, accessible: bool = True) -> DeviceNode:
    return DeviceNode(path=path, major=195, minor=0, mode=0o666 if accessible else 0o600, uid=0, gid=0,
                      accessible=accessible)


NODES = (node("/dev/nvidiactl"), node("/dev/nvidia-uvm"), node("/dev/nvidia0"))


def loaded(version: str = "580.95.05", **changes: Any) -> Driver:
    base = Driver(
        loaded_version=version, loaded_flavour="open", nouveau_loaded=False, secure_boot="off",
        modules=(KernelModule(kernel=KERNEL, path=f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko"),),
        kernels=(Kernel(release=KERNEL, headers=True, running=True, newest=True),),
        libraries=(library("/usr/lib/libnvidia-ml.so.1", version),), device_nodes=NODES, wsl_libcuda=True,
    )
    return msgspec.structs.replace(base, **changes)


def absent(**changes: Any) -> Driver:
    base = Driver(loaded_version=None, loaded_flavour=None, nouveau_loaded=False, secure_boot="off", modules=(),
                  kernels=(Kernel(release=KERNEL, headers=True, running=True, newest=True),), libraries=(),
                  device_nodes=(), wsl_libcuda=False)
    return msgspec.structs.replace(base, **changes)


def on_disk(version: str = "580.95.05", **changes: str) -> ModuleFile:
    return ModuleFile(info=ModuleInfo(path="/lib/modules/x/nvidia.ko", version=version, **changes))


def log(kind: EventKind, text: str = "", address: str | None = "0000:01:00") -> KernelLog:
    return KernelLog(source="journal", from_boot=True, events=(KernelEvent(kind=kind, text=text, address=address),))


def judge(name: str, **facts: Any) -> list[Result]:
    facts = {"pci": bus(), "driver": loaded(), "gpus": nvml(), "host": UBUNTU, "kernel_log": EMPTY_LOG,
             "module_file": on_disk(), "packages": Packages(manager="apt", automatic_upgrades=False), **facts}
    return judge_check(f"driver.{name}", **facts)


def status(name: str, **facts: Any) -> str:
    return " ".join(result.status for result in judge(name, **facts))


def said(name: str, **facts: Any) -> str:
    return " / ".join(words.message(result.finding) for result in judge(name, **facts))


def commands(results: list[Result]) -> str:
    return "\n".join(words.step_command(step, r.finding) or "" for r in results for step in r.finding.fix)


ALL = [
    "not-loaded",
    "nouveau-bound",
    "blocked-by-secure-boot",
    "missing-for-next-kernel",
    "wrong-flavour",
    "gpu-unsupported",
    "bar-too-small",
    "nvml-unusable",
    "library-mismatch",
    "library-only-on-ld-path",
    "device-nodes",
    "too-old",
    "end-of-life",
    "unheld-upgrade",
    "reboot-pending",
    "persistence-off",
    "iommu-passthrough-off",
    "wsl-linux-driver",
    "wsl-libcuda-missing",
]
GATES = {"not-loaded": "driver", "nvml-unusable": "gpus", "unheld-upgrade": "packages",
         "missing-for-next-kernel": "module_file", "persistence-off": "services"}
#: What a machine without any NVIDIA GPU gives.
BARE: dict[str, Any] = {
    "driver": absent(), "gpus": Gpus(error_code=12, error="NVML Shared Library Not Found"),
    "module_file": ModuleFile(info=None), "services": Services(),
}


@pytest.mark.parametrize("name", ALL)
def test_a_machine_without_nvidia_gpu_is_not_accused(name: str) -> None:
    for pci in (Pci(iommu="translated"), bus("74a1", vendor="1002", driver="amdgpu")):
        for stage in (Target(engines=(parse_engine("vllm==0.33.0"),)), INSTALLING):
            assert status(name, **{**BARE, "pci": pci, "target": stage}) == "skip"


@pytest.mark.parametrize("card", ["20b2", "2342", "2e12"], ids=["A100", "GH200 without NVSwitch", "GB10"])
@pytest.mark.parametrize("name", ALL)
def test_a_healthy_server_passes(name: str, card: str) -> None:
    services = Services(units=(Unit(name="nvidia-persistenced.service", load="loaded", active="active"),))
    facts: dict[str, Any] = {"pci": bus(card), "gpus": nvml(persistence=True), "services": services,
                             "target": Target(engines=(parse_engine("vllm==0.33.0"),))}
    assert status(name, **facts) in ("pass", "skip")
    for result in judge(name, **facts):
        assert result.finding.evidence or result.status == "skip"


@pytest.mark.parametrize(("name", "section"), GATES.items())
def test_a_gatekeeper_tells_a_failed_look_from_nothing_to_see(name: str, section: str) -> None:
    assert "unknown" in status(name, **{section: Unavailable("it crashed", "crashed")})
    assert "it crashed" in said(name, **{section: Unavailable("it crashed", "crashed")})
    assert "unknown" not in status(name, **{section: Unavailable("none here", "not-applicable")})


@pytest.mark.parametrize("name", ALL)
def test_gpus_handed_to_virtual_machines_need_no_driver_here(name: str) -> None:
    assert status(name, **{**BARE, "pci": bus(driver="vfio-pci")}) == "skip"


# driver.not-loaded names the first true cause.


@pytest.mark.parametrize(
    ("driver", "facts", "word"),
    [
        (absent(), {"pci": bus(driver="nouveau")}, "nouveau"),
        (absent(modules=loaded().modules, secure_boot="on"), {"kernel_log": log("module-rejected")}, "Secure Boot"),
        (absent(modules=(KernelModule(kernel="5.4.0", path="/x/nvidia.ko"),)), {}, "5.4.0"),
        (absent(modules=loaded().modules, blacklisted=("nvidia",)), {}, "blacklisted: yes"),
        (absent(), {}, "no NVIDIA driver is installed"),
        (absent(modules=SECRET), {}, "no permission"),
    ],
)
def test_not_loaded_because(driver: Driver, facts: dict[str, Any], word: str) -> None:
    facts = {"driver": driver, "gpus": Gpus(error_code=9), "pci": bus(driver=None), **facts}
    assert status("not-loaded", **facts) == "fail"
    assert word in said("not-loaded", **facts)


def test_before_the_install_a_missing_driver_is_a_note_with_commands() -> None:
    for host, word in ((UBUNTU, "ubuntu-drivers"), (RHEL, "dnf install"), (NIXOS, "nixos-rebuild")):
        found = judge("not-loaded", driver=absent(), gpus=Gpus(error_code=12), host=host, target=INSTALLING)
        assert found[0].status == "info"
        assert word in commands(found)
        assert status("nvml-unusable", driver=absent(), gpus=Gpus(error_code=12), target=INSTALLING) == "info"


def test_a_gpu_that_newer_drivers_dropped_gets_its_last_branch() -> None:
    found = judge("not-loaded", driver=absent(), gpus=Gpus(error_code=9), pci=bus(V100), host=RHEL)
    assert "cuda-drivers-580" in commands(found)


def test_a_sandbox_that_hides_the_module_is_believed_when_gpus_answer() -> None:
    assert status("not-loaded", driver=absent()) == "pass"


def test_a_device_node_does_not_prove_a_driver() -> None:
    assert status("not-loaded", driver=absent(device_nodes=NODES), gpus=Gpus(error_code=9)) == "fail"
    assert status("device-nodes", driver=absent(device_nodes=NODES)) == "skip"


def test_an_unreadable_bus_accuses_nobody() -> None:
    assert status("not-loaded", pci=SECRET, driver=absent(), gpus=Gpus(error_code=9)) == "unknown"


# driver.nouveau-bound


def test_nouveau() -> None:
    assert status("nouveau-bound", pci=bus(driver="nouveau")) == "fail"
    assert status("nouveau-bound", pci=bus(driver="nouveau"), target=INSTALLING) == "fail"
    assert status("nouveau-bound", driver=loaded(nouveau_loaded=True)) == "warn"
    unseen = Unavailable("no /proc/modules", "not-supported")
    assert status("nouveau-bound", driver=loaded(nouveau_loaded=unseen)) == "pass"
    assert status("nouveau-bound", driver=absent(nouveau_loaded=unseen), pci=bus(driver=None)) == "unknown"
    for host, word in ((UBUNTU, "update-initramfs"), (RHEL, "dracut"), (NIXOS, "nixos-rebuild")):
        assert word in commands(judge("nouveau-bound", pci=bus(driver="nouveau"), host=host))


# driver.blocked-by-secure-boot


def test_secure_boot() -> None:
    on: dict[str, Any] = {"gpus": Gpus(error_code=9)}
    built = absent(secure_boot="on", modules=loaded().modules)
    assert status("blocked-by-secure-boot", driver=built, module_file=on_disk(signer="me"),
                  kernel_log=log("module-rejected"), **on) == "fail"
    assert status("blocked-by-secure-boot", driver=built, module_file=on_disk(), **on) == "fail"
    assert status("blocked-by-secure-boot", driver=built, module_file=on_disk(signer="me"), **on) == "warn"
    assert status("blocked-by-secure-boot", driver=absent(secure_boot="on"), module_file=ModuleFile(info=None),
                  target=INSTALLING, **on) == "warn"
    assert status("blocked-by-secure-boot", driver=loaded(secure_boot="on"), kernel_log=log("module-rejected")
                  ) == "pass", "another module was refused"
    assert status("blocked-by-secure-boot", driver=built, module_file=on_disk(signer="me"), kernel_log=SECRET, **on
                  ) == "warn"
    assert status("blocked-by-secure-boot", driver=absent(secure_boot=SECRET), **on) == "unknown"
    assert "mokutil" in commands(judge("blocked-by-secure-boot", driver=built, module_file=on_disk(), **on))


# driver.missing-for-next-kernel


def test_module_for_the_next_kernel() -> None:
    both = (Kernel(release=KERNEL, headers=True, running=True), Kernel(release=NEXT, headers=False, newest=True))
    found = judge("missing-for-next-kernel", driver=loaded(kernels=both))
    assert found[0].status == "warn"
    assert f"linux-headers-{NEXT}" in commands(found)
    assert f"kernel-devel-{NEXT}" in commands(judge("missing-for-next-kernel", driver=loaded(kernels=both), host=RHEL))
    assert status("missing-for-next-kernel", driver=loaded(kernels=both), host=CONTAINER) == "skip"
    assert status("missing-for-next-kernel", driver=loaded(kernels=both), host=NIXOS) == "skip"
    assert status("missing-for-next-kernel", driver=loaded(kernels=SECRET)) == "unknown"


def test_module_for_the_running_kernel() -> None:
    old = (KernelModule(kernel="5.4.0", path="/lib/modules/5.4.0/nvidia.ko"),)
    none = ModuleFile(info=None)
    assert status("missing-for-next-kernel", driver=absent(modules=old), module_file=none) == "fail"
    assert status("missing-for-next-kernel", driver=absent(dkms=(DkmsBuild(version="580", kernel=None),)),
                  module_file=none) == "fail"
    assert status("missing-for-next-kernel", driver=loaded(modules=old), module_file=none) == "warn"
    assert status("missing-for-next-kernel", driver=absent(), module_file=none) == "skip", "not-loaded says it"
    assert status("missing-for-next-kernel", driver=loaded(modules=()), module_file=none) == "unknown"


# driver.wrong-flavour


@pytest.mark.parametrize(
    ("card", "flavour", "answers", "expected"),
    [
        (RTX5090, "proprietary", 0, "fail"),
        (GH200, "proprietary", 0, "fail"),
        (V100, "open", 0, "fail"),
        (A100, "open", 0, "pass"),
        (A100, "proprietary", 0, "pass"),
        (RTX5090, "open", 0, "pass"),
        (RTX5090, "proprietary", 1, "pass"),
        (NOBODY, "open", 0, "unknown"),
        (NOBODY, "open", 1, "pass"),
    ],
)
def test_flavour(card: str, flavour: str, answers: int, expected: str) -> None:
    driver = loaded(loaded_flavour=flavour)
    assert status("wrong-flavour", driver=driver, pci=bus(card), gpus=nvml(answers)) == expected


def test_flavour_by_file_and_by_log() -> None:
    assert status("wrong-flavour", driver=absent(), pci=bus(V100), gpus=nvml(0),
                  module_file=on_disk("580.95.05", license="Dual MIT/GPL")) == "fail"
    told = log("gpu-unsupported", "requires use of the NVIDIA open kernel modules.")
    found = judge("wrong-flavour", driver=loaded(loaded_flavour="proprietary"), pci=bus(NOBODY), gpus=nvml(0),
                  kernel_log=told, host=NIXOS)
    assert found[0].status == "fail"
    assert "hardware.nvidia.open = true" in words.step_text(found[0].finding.fix[0], found[0].finding)
    assert status("gpu-unsupported", driver=loaded(loaded_flavour="proprietary"), pci=bus(NOBODY), gpus=nvml(0),
                  kernel_log=told) == "pass", "one accusation is enough"


# driver.gpu-unsupported


def test_dropped_and_unknown_gpus() -> None:
    facts: dict[str, Any] = {"driver": loaded("595.58.03"), "pci": bus(V100), "gpus": nvml(0)}
    assert status("gpu-unsupported", **facts) == "fail"
    assert status("wrong-flavour", **facts) != "fail", "one accusation is enough"
    told = log("gpu-unsupported", "is not supported by the NVIDIA 595.58.03 driver release")
    assert status("gpu-unsupported", **{**facts, "pci": bus(NOBODY), "kernel_log": told}) == "fail"
    assert status("gpu-unsupported", **{**facts, "pci": bus(RTX5090), "driver": loaded("550.54.14")}) == "warn"
    assert status("gpu-unsupported", pci=bus(RTX5090), driver=loaded("550.54.14")) == "pass", "it answers"
    assert status("gpu-unsupported", **{**facts, "driver": loaded("580.95.05"), "kernel_log": SECRET}) == "pass"
    assert status("gpu-unsupported", driver=absent(), module_file=ModuleFile(info=None), pci=bus(V100), gpus=nvml(0),
                  target=INSTALLING) == "info"


# driver.bar-too-small


def test_bar() -> None:
    none = log("bar-unassigned", "BAR 1: can't assign mem pref (size 0x2000000000)")
    assert status("bar-too-small", gpus=nvml(0), kernel_log=none) == "fail"
    assert status("bar-too-small", gpus=nvml(1), kernel_log=none) == "pass", "the kernel found room later"
    assert status("bar-too-small", gpus=nvml(0), kernel_log=log("bar-unassigned", address="0000:77:00")) == "pass"
    assert status("bar-too-small", gpus=nvml(0), kernel_log=SECRET) == "unknown"
    assert status("bar-too-small", gpus=nvml(1), kernel_log=SECRET) == "pass"
    assert status("bar-too-small", gpus=nvml(0), kernel_log=SECRET, driver=absent()) == "skip"
    assert status("bar-too-small", gpus=nvml(0), kernel_log=log("rm-init-failed", "RmInitAdapter failed!")) == "pass"


# driver.nvml-unusable


@pytest.mark.parametrize("code", [9, 12, 18, 4, 15, 16, 17, 999, 3, 1])
def test_every_code_is_a_failure_with_a_way_out(code: int) -> None:
    [found] = judge("nvml-unusable", gpus=Gpus(error_code=code, error="text"), driver=absent())
    assert found.status == "fail"
    assert str(code) in words.message(found.finding)
    assert found.finding.fix


def test_a_hang_names_who_is_stuck() -> None:
    processes = Processes(uninterruptible=("nvidia-smi", "python3"))
    assert status("nvml-unusable", gpus=HANG, processes=processes) == "fail"
    assert "nvidia-smi, python3" in said("nvml-unusable", gpus=HANG, processes=processes)
    assert status("nvml-unusable", gpus=HANG) == "fail"
    cut_short = Unavailable("the nvml probe ran out of time (--timeout)", "timeout")
    assert status("nvml-unusable", gpus=cut_short) == "unknown", "the operator's impatience is not the driver's fault"


def test_sudo_without_library_path_is_not_taken_for_a_missing_driver() -> None:
    facts: dict[str, Any] = {"gpus": Gpus(error_code=12, error="not found"), "driver": loaded(libraries=()),
                             "host": msgspec.structs.replace(UBUNTU, user_id=0)}
    assert status("not-loaded", **facts) == "pass"
    assert "580.95.05 is loaded" in said("nvml-unusable", **facts)
    assert "sudo removes" in " ".join(s.text for r in judge("nvml-unusable", **facts) for s in r.finding.fix)


def test_containers_and_wsl_get_their_own_way_out() -> None:
    assert "Recreate" in judge("nvml-unusable", gpus=Gpus(error_code=999), host=CONTAINER)[0].finding.fix[0].text
    wsl = judge("nvml-unusable", gpus=Gpus(error_code=9), host=WSL, pci=Pci(), driver=absent())
    assert wsl[0].status == "fail"
    assert "Windows" in wsl[0].finding.fix[0].text


# driver.library-mismatch


def test_three_versions() -> None:
    new = (library("/usr/lib/libnvidia-ml.so.1", "580.95.05"),)
    old = loaded("580.82.07", libraries=new)
    mismatch = Gpus(error_code=18, error="Driver/library version mismatch")
    assert status("library-mismatch", driver=old, gpus=mismatch) == "fail"
    assert status("library-mismatch", driver=old, gpus=HANG) == "fail"
    assert "580.82.07" in said("library-mismatch", driver=old, gpus=mismatch)
    assert status("library-mismatch", driver=loaded(), module_file=on_disk("580.105.08")) == "warn"
    assert status("library-mismatch", driver=absent()) == "skip"
    assert "nvidia-ctk" in commands(judge("library-mismatch", driver=old, gpus=mismatch, host=CONTAINER))


def test_mixed_copies_accuse_nobody_while_nvml_works() -> None:
    copies = (library("/opt/lib/libnvidia-ml.so.1", "535.1.1", "ld-library-path"),
              library("/usr/lib/libnvidia-ml.so.1", "580.95.05"))
    assert status("library-mismatch", driver=loaded(libraries=copies)) == "pass"
    assert status("library-only-on-ld-path", driver=loaded(libraries=copies)) == "warn"
    assert status("library-mismatch", driver=loaded(libraries=SECRET), gpus=HANG) == "unknown"


# driver.library-only-on-ld-path


def test_library_path() -> None:
    only = (library("/opt/lib/libnvidia-ml.so.1", "580.95.05", "ld-library-path"),)
    found = judge("library-only-on-ld-path", driver=loaded(libraries=only))
    assert found[0].status == "warn"
    assert "echo /opt/lib | sudo tee" in commands(found)
    assert status("library-only-on-ld-path", driver=loaded(libraries=())) == "skip"
    assert status("library-only-on-ld-path",
                  driver=loaded(libraries=(library("/run/opengl-driver/lib/libcuda.so.1", "580.95.05", "nixos"),)),
                  host=NIXOS) == "pass"
    stub = library("/usr/local/cuda/lib64/stubs/libcuda.so.1", None, "ld-library-path", "libcuda.so.1", stub=True)
    real = library("/usr/lib/libcuda.so.1", "580.95.05", soname="libcuda.so.1")
    assert "stub" in said("library-only-on-ld-path", driver=loaded(libraries=(stub, real)))
    assert status("library-only-on-ld-path", driver=loaded(libraries=(real, stub))) == "pass"


def test_a_folder_with_a_hostile_name_is_quoted() -> None:
    evil = (library("/tmp/$(reboot); x/libnvidia-ml.so.1", "580.95.05", "ld-library-path"),)
    text = commands(judge("library-only-on-ld-path", driver=loaded(libraries=evil)))
    assert "'/tmp/$(reboot); x'" in text


# driver.device-nodes


def test_nodes() -> None:
    assert "nvidia-uvm" in said("device-nodes", driver=loaded(device_nodes=(NODES[0], NODES[2])))
    assert status("device-nodes", driver=loaded(), pci=bus(A100, A100)) == "fail"
    closed = (NODES[0], NODES[1], node("/dev/nvidia0", accessible=False))
    assert status("device-nodes", driver=loaded(device_nodes=closed)) == "fail"
    assert status("device-nodes", driver=loaded(device_nodes=SECRET)) == "unknown"
    gap = loaded(device_nodes=(NODES[0], NODES[1], node("/dev/nvidia3")),
                 proc_gpus=(ProcGpu(address="0000:01:00.0", minor=3),))
    assert status("device-nodes", driver=gap) == "pass", "minor numbers have gaps"


def test_a_container_with_some_of_the_gpus_is_complete() -> None:
    held = tuple(ProcGpu(address=f"0000:0{n}:00.0", minor=n) for n in range(4))
    some = loaded(device_nodes=(NODES[0], NODES[1], node("/dev/nvidia2")), proc_gpus=held)
    assert status("device-nodes", driver=some, pci=bus(*[A100] * 4), host=CONTAINER) == "pass"
    assert status("device-nodes", driver=some, pci=bus(*[A100] * 4)) == "fail"


# driver.uvm-broken


def test_uvm() -> None:
    assert status("uvm-broken", cuda=Cuda(init_code=999)) == "fail"
    assert status("uvm-broken", cuda=Cuda(init_code=0)) == "pass"
    assert status("uvm-broken", cuda=Cuda(init_code=999), gpus=Gpus(error_code=9)) == "skip"
    assert status("uvm-broken", cuda=Unavailable("only with --deep", "not-asked")) == "skip"


# driver.too-old


@pytest.mark.parametrize(
    ("version", "engine", "expected"),
    [
        ("535.247.01", "vllm==0.33.0", "fail"),  # CUDA 13
        ("580.65.06", "vllm==0.33.0", "pass"),
        ("535.247.01", "vllm==0.10.2", "pass"),  # CUDA 12.8 within the major
        ("525.60.12", "vllm==0.10.2", "fail"),
        ("535.247.01", "ollama==0.11.10", "pass"),
        ("535.247.01", "ollama==0.30.11", "fail"),
        ("535.247.01", "torch==2.9.0+cu126", "pass"),
        ("535.247.01", "nvidia/cuda:12.9.0-base-ubuntu22.04", "pass"),
        ("470.256.02", "nvidia/cuda:13.0.0-base-ubuntu22.04", "fail"),
        ("580.95.05", "vllm==99.0", "unknown"),
        ("580.95.05", "llama.cpp", "unknown"),
        ("not.a.version", "vllm==0.33.0", "unknown"),
    ],
)
def test_floor(version: str, engine: str, expected: str) -> None:
    target = Target(engines=(parse_engine(engine),))
    assert status("too-old", driver=loaded(version), gpus=nvml(version=version), pci=bus("1e30"), target=target
                  ) == expected


def test_floor_without_engine_driver_or_with_compat_libraries() -> None:
    assert "--for vllm==0.33.0" in said("too-old")
    assert status("too-old") == "skip"
    wish = Target(engines=(parse_engine("vllm==0.33.0"),))
    gone: dict[str, Any] = {"driver": absent(), "gpus": Gpus(error_code=9)}
    assert status("too-old", target=wish, **gone) == "skip"
    assert status("too-old", target=msgspec.structs.replace(wish, stage="pre-install"), **gone) == "info"
    image = Target(engines=(parse_engine("vllm/vllm-openai:v0.33.0"),))
    old: dict[str, Any] = {"driver": loaded("535.247.01"), "gpus": nvml(version="535.247.01"), "target": image}
    assert status("too-old", **old) == "warn", "a data-centre GPU can carry the image's cuda-compat"
    assert status("too-old", **{**old, "pci": bus("2684")}) == "fail", "a GeForce cannot"
    assert status("too-old", **{**old, "pci": Pci(), "host": WSL}) == "unknown", "Windows counts otherwise"


# driver.end-of-life


def test_end_of_life() -> None:
    policy = msgspec.structs.replace(default_policy(), today="2026-11-20")
    for version, expected in (("535.247.01", "warn"), ("580.95.05", "pass"), ("399.1", "unknown"), ("615.1", "info")):
        assert status("end-of-life", driver=loaded(version), policy=policy) == expected
    assert status("end-of-life", driver=absent(), gpus=Gpus(error_code=9), policy=policy) == "skip"
    late = msgspec.structs.replace(policy, today="2030-01-01")
    assert status("end-of-life", policy=late) == "warn"
    assert status("end-of-life", policy=late, pci=bus(V100)) == "info", "there is nothing newer for it"


# driver.unheld-upgrade


def packages(*names: str, exclusions: tuple[str, ...] = (), held: bool = False, manager: str = "apt") -> Packages:
    return Packages(manager=manager, automatic_upgrades=True, automatic_exclusions=exclusions,
                    installed=tuple(Package(name=n, version="1", held=held) for n in names))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (packages("nvidia-driver-580"), "warn"),
        (packages("nvidia-driver-580", held=True), "pass"),
        (packages("nvidia-driver-580", exclusions=("nvidia-",)), "pass"),
        (packages("nvidia-driver-580", exclusions=(r"^nvidia\-driver-.*$",)), "pass"),
        (packages("nvidia-driver-580", exclusions=("(.*)nvidia(.*)",)), "pass"),
        (packages("nvidia-driver-580", exclusions=("linux-image-",)), "warn"),
        (packages("nvidia-driver-580", "libnvidia-compute-580", exclusions=("nvidia-",)), "warn"),
        (packages("nvidia-driver-580", exclusions=("(a+)+$" * 40, "", "^", "*")), "warn"),
        (packages("nvidia-container-toolkit", "libnvidia-container1"), "pass"),
        (packages(), "pass"),
        (packages(manager="dnf"), "warn"),
        (packages(manager="dnf", exclusions=("nvidia-driver-3:580.95.05-1.el9.*",)), "pass"),
        (Packages(manager="apt", automatic_upgrades=False), "pass"),
        (Packages(manager="apt", automatic_upgrades=SECRET), "unknown"),
        (Packages(manager="nix", automatic_upgrades=True), "skip"),
    ],
)
def test_upgrades(facts: Packages, expected: str) -> None:
    assert status("unheld-upgrade", packages=facts) == expected


def test_upgrades_with_the_timer_off_and_in_containers() -> None:
    off = Services(units=(Unit(name="apt-daily-upgrade.timer", load="loaded", active="inactive", enabled="disabled"),))
    assert status("unheld-upgrade", packages=packages("nvidia-driver-580"), services=off) == "pass"
    assert status("unheld-upgrade", packages=packages("nvidia-driver-580"), host=CONTAINER) == "skip"
    text = commands(judge("unheld-upgrade", packages=packages("nvidia-driver-580")))
    assert 'Package-Blacklist { "nvidia-"; ' in text
    assert "versionlock" in commands(judge("unheld-upgrade", packages=packages(manager="dnf"), host=RHEL))


# driver.reboot-pending


def test_reboot() -> None:
    due = Packages(manager="apt", reboot_required=True, reboot_packages=("linux-image-6",))
    assert "linux-image-6" in said("reboot-pending", packages=due)
    two = (Kernel(release=KERNEL, headers=True, running=True), Kernel(release=NEXT, headers=True, newest=True))
    assert status("reboot-pending", driver=loaded(kernels=two)) == "warn"
    assert status("reboot-pending", packages=SECRET, driver=loaded(kernels=SECRET)) == "unknown"
    assert status("reboot-pending", packages=due, host=CONTAINER) == "skip"


# driver.persistence-off


def test_persistence() -> None:
    server = msgspec.structs.replace(UBUNTU, display_server=False)
    desktop = msgspec.structs.replace(UBUNTU, display_server=True)
    off = nvml(2, persistence=False)
    assert status("persistence-off", gpus=off, host=server, services=Services()) == "warn"
    assert status("persistence-off", gpus=off, host=desktop, services=Services()) == "info"
    assert status("persistence-off", gpus=nvml(persistence=Unavailable("no", "not-supported")), services=Services()
                  ) == "skip"
    runs = Services(units=(Unit(name="nvidia-persistenced.service", load="loaded", active="active"),))
    assert "-pm 1" in commands(judge("persistence-off", gpus=off, host=server, services=runs))
    no_systemd = Unavailable("systemd does not run this machine", "not-applicable")
    assert status("persistence-off", gpus=off, host=server, services=no_systemd) == "warn"


# driver.iommu-passthrough-off


def test_iommu() -> None:
    assert status("iommu-passthrough-off", pci=bus(A100, A100, iommu="translated")) == "warn"
    assert status("iommu-passthrough-off", pci=bus("74a1", "74a1", vendor="1002", iommu="translated")) == "warn"
    assert status("iommu-passthrough-off", pci=bus(A100, A100, iommu="passthrough")) == "pass"
    assert status("iommu-passthrough-off", pci=bus(A100, iommu="translated")) == "skip"
    assert status("iommu-passthrough-off", pci=bus(A100, A100, driver="vfio-pci", iommu="translated")) == "skip"
    assert "iommu=pt" in commands(judge("iommu-passthrough-off", host=RHEL, pci=bus(A100, A100, iommu="translated")))


# WSL


def test_wsl() -> None:
    windows = tuple(library(f"/usr/lib/wsl/lib/{n}", None, soname=n) for n in ("libnvidia-ml.so.1", "libcuda.so.1"))
    linux = tuple(library(f"/usr/lib/x86_64-linux-gnu/{n}", "580.95.05", soname=n)
                  for n in ("libnvidia-ml.so.1", "libcuda.so.1"))
    facts: dict[str, Any] = {"host": WSL, "pci": Pci()}
    broken = Gpus(error_code=9, error="Driver Not Loaded")
    assert status("wsl-linux-driver", driver=absent(libraries=linux + windows), gpus=broken, **facts) == "fail"
    assert status("wsl-linux-driver", driver=absent(libraries=windows + linux), **facts) == "warn"
    assert status("wsl-linux-driver", driver=absent(libraries=windows), **facts) == "pass"
    assert status("wsl-linux-driver", driver=absent(libraries=windows), packages=packages("libnvidia-compute-580"),
                  **facts) == "warn"
    assert status("wsl-linux-driver", driver=absent(libraries=windows), packages=packages("nvidia-container-toolkit"),
                  **facts) == "pass"
    assert status("wsl-libcuda-missing", driver=absent(libraries=windows), **facts) == "warn"
    assert status("wsl-libcuda-missing", driver=absent(libraries=windows, wsl_libcuda=True), **facts) == "pass"
    assert status("wsl-libcuda-missing", driver=absent(), **facts) == "skip"


@pytest.mark.parametrize("name", ALL)
def test_a_working_wsl_is_not_accused(name: str) -> None:
    windows = tuple(library(f"/usr/lib/wsl/lib/{n}", None, soname=n) for n in ("libnvidia-ml.so.1", "libcuda.so.1"))
    driver = absent(libraries=windows, wsl_libcuda=True)
    assert status(name, host=WSL, pci=Pci(), driver=driver, services=Services(),
                  module_file=ModuleFile(info=None)) in ("pass", "skip")
