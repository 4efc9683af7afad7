"""The real probe and the real nvidia-ml-py on a stand-in library built from C."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from standin import WEDGED, build, machine, stand_in

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Ecc, Fabric, Gpu, Gpus, Mig, RowRemapping
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.probes import take
from gpudoctor.probes.nvml_library import library_in_maps
from gpudoctor.probes.nvml_processes import choose, container_id, unpack
from gpudoctor.probes.runner import ProbeSpec
from gpudoctor.probes.take import take_snapshot

with_compiler = pytest.mark.tier("gcc")
NVML = ProbeSpec(name="nvml", modules=("nvml",), sections=("gpus",), patience=10)


class Reader:
    """Reads a scripted machine in a child process, as ``gpudoctor check`` does."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch

    def snapshot(self, text: str, patience: float = 10, timeout: float = 45) -> Snapshot:
        for name, value in stand_in(self.folder, text).items():
            self.monkeypatch.setenv(name, value)
        spec = ProbeSpec(name="nvml", modules=("nvml",), sections=("gpus",), patience=patience)
        self.monkeypatch.setattr(take, "PROBES", (spec,))
        return take_snapshot(timeout=timeout)

    def gpus(self, text: str, patience: float = 10, timeout: float = 45) -> Gpus:
        section = self.snapshot(text, patience, timeout).gpus
        assert isinstance(section, Gpus), section
        return section


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(tmp_path, monkeypatch)


def gaps(gpu: Gpu, kind: str) -> set[str]:
    return {
        name
        for name in gpu.__struct_fields__
        if isinstance(value := getattr(gpu, name), Unavailable) and value.kind == kind
    }


@with_compiler
def test_every_figure_of_an_hgx_machine(reader: Reader) -> None:
    section = reader.gpus(
        machine("8x-h100-hgx", "gpu.6.topology.7 = 10", "gpu.2.power = 300500", "gpu.2.violation.1 = 90000000000")
    )
    assert section.gpus[2].thermal_slowdown_seconds == 90.0
    assert section.driver_version == "570.172.08"
    assert section.cuda_version == 12080
    assert section.count == 8
    assert str(section.library_path).endswith("/libnvidia-ml.so.1")
    assert [gpu.index for gpu in section.answering] == list(range(8))
    gpu = section.gpus[7]
    assert gpu.name == "NVIDIA H100 80GB HBM3"
    assert (gpu.pci_address, gpu.pci_device, gpu.minor) == ("0000:df:00.0", "2330", 7)
    assert (gpu.compute_capability, gpu.architecture) == ((9, 0), "Hopper")
    assert isinstance(gpu.ecc, Ecc)
    assert gpu.ecc.enabled is True
    assert gpu.ecc.volatile.sram_uncorrected == 0
    assert gpu.ecc.sram_threshold_exceeded is False
    assert gpu.row_remapping == RowRemapping(
        corrected=0, uncorrected=0, pending=False, failed=False, banks_exhausted=0
    )
    assert gpu.fabric == Fabric(state=3, result=0, health_mask=0)
    assert gpu.mig == Mig(enabled=False, pending=False, instances=0)
    assert isinstance(gpu.nvlinks, tuple)
    assert len(gpu.nvlinks) == 18
    assert (gpu.nvlinks[0].remote, gpu.nvlinks[0].remote_type) == ("0000:05:00.0", "switch")
    assert gpu.nvlinks[0].crc_errors_later == 0
    assert (gpu.recovery_action, gpu.inforom_valid, gpu.channel_repair_pending) == (0, True, False)
    assert (gpu.compute_mode, gpu.persistence, gpu.display_active) == ("default", True, False)
    assert gpu.clock_event_samples == (1,) * 6
    assert [peer.index for peer in gpu.peers] == list(range(7))
    assert {peer.index: peer.common_ancestor for peer in section.gpus[6].peers}[7] == 10
    assert section.gpus[2].power_watts == 300.5
    # The distance to the limit, not field 194, which is the limit itself and below zero on a healthy card.
    assert gpu.thermal_margin_celsius == 54
    assert gpu.pcie.replay_interval_seconds >= 2
    assert gaps(gpu, "error") == set()
    assert gpu.processes == ()


@with_compiler
def test_quadro_under_driver_535(reader: Reader) -> None:
    section = reader.gpus(
        machine(
            "4x-quadro-rtx-8000",
            "banner = NVML banner on stdout {",
            "gpu.2.pcie.width = 4",
            "gpu.1.clock.reasons = 0x1,0x4,0x40",
            "gpu.3.pcie.replays_step = 7",
        )
    )
    assert [gpu.index for gpu in section.answering] == [0, 1, 2, 3]
    first = section.gpus[0]
    assert (first.memory_total_bytes, first.memory_used_bytes, first.memory_reserved_bytes) == (
        51539607552, 3145728, 417333248,
    )
    assert "recovery_action" in gaps(first, "driver-too-old")
    assert "thermal_margin_celsius" in gaps(first, "driver-too-old")
    assert "row_remapping" in gaps(first, "not-supported")
    assert "mig" in gaps(first, "not-supported")
    assert isinstance(first.nvlinks, tuple)
    assert [link.active for link in first.nvlinks] == [False, False]
    assert [gpu.pcie.width for gpu in section.gpus] == [16, 16, 4, 16]
    assert section.gpus[1].clock_event_samples == (1, 4, 64, 64, 64, 64)
    assert (section.gpus[3].pcie.replays, section.gpus[3].pcie.replays_later) == (0, 7)


@with_compiler
def test_driver_470_lacks_many_functions(reader: Reader) -> None:
    section = reader.gpus(machine("2x-v100-driver-470", f"gpu.1.proc.0 = C,{os.getpid()},1048576"))
    gpu = section.gpus[1]
    assert section.answering == section.gpus
    assert gpu.memory_total_bytes == 34089730048
    assert {"memory_reserved_bytes", "fabric", "thermal_margin_celsius"} <= gaps(gpu, "driver-too-old")
    assert gaps(gpu, "error") == set()
    assert gpu.clock_event_samples == (1,) * 6
    assert isinstance(gpu.nvlinks, tuple)
    assert [link.remote for link in gpu.nvlinks] == ["0000:15:00.0"] * 6
    assert isinstance(gpu.processes, tuple)
    process = gpu.processes[0]
    assert (process.pid, process.kind, process.used_bytes) == (os.getpid(), "compute", 1048576)
    assert process.name == Path(sys.executable).resolve().name
    assert process.started_seconds_ago is not None
    assert process.started_seconds_ago > 0


@with_compiler
def test_errors_cost_what_they_hold_up(reader: Reader) -> None:
    section = reader.gpus(
        machine(
            "8x-h100-hgx",
            "gpu.0.fail.nvmlDeviceGetHandleByIndex_v2 = 15",
            "gpu.1.fail.nvmlDeviceGetName = 999",
            "gpu.2.fail.nvmlDeviceGetPowerUsage = 999",
            "gpu.3.fail.nvmlDeviceGetPowerUsage = 15",
            "gpu.4.fail.nvmlDeviceGetMemoryInfo_v2 = 16",
            "gpu.5.fail.nvmlDeviceGetSerial = 4",
            "gpu.6.inforom = 0",
            "gpu.7.mig.mode = 1",
            "gpu.7.mig.instances = 2",
            "gpu.6.fail.nvmlDeviceGetTemperatureThreshold = 999",
        )
    )
    assert {gpu.index: gpu.failure_code for gpu in section.gpus if gpu.failure} == {0: 15, 1: 999, 3: 15, 4: 16}
    assert gaps(section.gpus[6], "error") == {"shutdown_celsius", "slowdown_celsius", "memory_max_celsius"}
    lost = section.gpus[3]
    assert lost.failure == "nvmlDeviceGetPowerUsage: GPU is lost (NVML code 15)"
    assert lost.name == "NVIDIA H100 80GB HBM3"
    assert section.gpus[2].power_watts == Unavailable("nvmlDeviceGetPowerUsage: Unknown Error (NVML code 999)", "error")
    assert gaps(section.gpus[5], "no-permission") == {"serial"}
    assert section.gpus[6].inforom_valid is False
    assert section.gpus[7].mig == Mig(enabled=True, pending=False, instances=2)


@with_compiler
def test_seven_good_gpus_beside_a_wedged_one(reader: Reader) -> None:
    snapshot = reader.snapshot(machine("8x-h100-hgx", WEDGED), patience=3)
    section = snapshot.gpus
    assert isinstance(section, Gpus)
    assert [gpu.index for gpu in section.gpus] == list(range(8))
    assert [gpu.index for gpu in section.answering] == [0, 1, 2, 4, 5, 6, 7]
    wedged = section.gpus[3]
    assert wedged.failure == "did not answer within 3 s in nvmlDeviceGetTemperature"
    assert wedged.failure_code is None
    assert (wedged.name, wedged.pci_address) == ("NVIDIA H100 80GB HBM3", "0000:61:00.0")
    assert "GPU 3" in snapshot.probes[0].outcome
    assert [peer.index for peer in section.gpus[0].peers] == [1, 2, 4, 5, 6, 7]


@with_compiler
def test_a_gpu_that_crashes_the_library(reader: Reader) -> None:
    section = reader.gpus(
        machine(
            "8x-h100-hgx",
            "gpu.5.crash.nvmlDeviceGetPcieReplayCounter = 1",
            "gpu.6.crash.nvmlDeviceGetCurrentClocksEventReasons = 1",
        )
    )
    assert {gpu.index: gpu.failure for gpu in section.gpus if gpu.failure} == {
        5: "crashed (SIGSEGV) in nvmlDeviceGetPcieReplayCounter",
        6: "crashed (SIGSEGV) in nvmlDeviceGetCurrentClocksEventReasons",
    }
    assert section.gpus[6].power_watts == 71.234


@with_compiler
def test_all_gpus_are_named_when_time_runs_out(reader: Reader) -> None:
    section = reader.gpus(machine("8x-h100-hgx", "gpu.1.hang.nvmlDeviceGetName = 1"), timeout=2)
    assert [gpu.index for gpu in section.gpus] == list(range(8))
    assert section.answering == ()
    assert "nvmlDeviceGetName" in str(section.gpus[1].failure)
    assert "not reached" in str(section.gpus[7].failure)


@with_compiler
@pytest.mark.parametrize("code", [9, 18, 4, 999])
def test_nvml_that_cannot_start_keeps_its_code(reader: Reader, code: int) -> None:
    section = reader.gpus(machine("8x-h100-hgx", f"fail.nvmlInitWithFlags = {code}"))
    assert section.error_code == code
    assert f"(NVML code {code})" in str(section.error)
    assert str(section.library_path).endswith("libnvidia-ml.so.1")
    assert section.gpus == ()


@with_compiler
def test_nvml_that_hangs_or_crashes_at_start(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    crashed = reader.snapshot(machine("8x-h100-hgx", "crash.nvmlInitWithFlags = 1")).gpus
    assert crashed == Unavailable("NVML: crashed (SIGSEGV) in nvmlInit", "crashed")
    hung = reader.snapshot(machine("8x-h100-hgx", "hang.nvmlInitWithFlags = 1"), timeout=2).gpus
    assert hung == Unavailable("NVML: ran out of time (--timeout) in nvmlInit", "timeout")


def test_no_library_is_code_12(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setattr(take, "PROBES", (NVML,))
    section = take_snapshot().gpus
    if isinstance(section, Gpus) and section.error_code is None:
        pytest.skip("this machine has a working driver, which the loader finds all the same")
    assert isinstance(section, Gpus)
    assert section.error_code is not None


@with_compiler
def test_a_stray_module_where_the_operator_stands_is_not_imported(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = tmp_path / "here"
    stray.mkdir()
    for name in ("pynvml", "json", "msgspec"):
        (stray / f"{name}.py").write_text(f"open({str(stray / 'imported')!r}, 'w')\nraise SystemExit(7)\n")
    monkeypatch.chdir(stray)
    monkeypatch.setenv("PYTHONPATH", str(stray))
    section = reader.gpus(machine("2x-geforce-rtx-4090"))
    assert len(section.answering) == 2
    assert not (stray / "imported").exists()


@with_compiler
def test_the_long_process_structure_of_the_first_535_drivers(reader: Reader) -> None:
    pids = [os.getpid(), os.getppid(), 1]
    lines = [f"gpu.0.proc.{n} = C,{pid},{(n + 1) << 20}" for n, pid in enumerate(pids)]
    section = reader.gpus(machine("4x-quadro-rtx-8000", "process_layout = 535", *lines))
    found = section.gpus[0].processes
    assert isinstance(found, tuple)
    assert [(p.pid, p.used_bytes) for p in found] == [(pid, (n + 1) << 20) for n, pid in enumerate(pids)]


def test_entries_in_another_pid_namespace_are_told_by_what_a_pid_can_be() -> None:
    data = b"".join(struct.pack("=I4xQIIQ", pid, 5 << 30, 0xFFFFFFFF, 0xFFFFFFFF, 0) for pid in (4001, 4002, 4003))
    readings = [unpack(data, 3, form) for form in ("=I4xQII", "=I4xQIIQ")]
    assert choose(readings, lambda pid: False) == [(4001, 5 << 30), (4002, 5 << 30), (4003, 5 << 30)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0::/system.slice/docker-" + "a1" * 32 + ".scope", "a1" * 32),
        ("12:devices:/docker/" + "b2" * 32, "b2" * 32),
        ("0::/kubepods.slice/cri-containerd-" + "c3" * 32 + ".scope\n", "c3" * 32),
        ("0::/user.slice/user-1000.slice", None),
        ("", None),
    ],
)
def test_container_of_a_process(text: str, expected: str | None) -> None:
    assert container_id(text) == expected


def test_library_in_maps() -> None:
    maps = (
        "7f00 r-xp 0 fe:00 1 /usr/lib/libc.so.6\n"
        "7f01 r-xp 0 fe:00 2  /usr/lib/x/libnvidia-ml.so.535.247.01 (deleted)\n"
    )
    assert library_in_maps(maps, "libnvidia-ml.so") == "/usr/lib/x/libnvidia-ml.so.535.247.01"
    assert library_in_maps(maps, "libcuda.so") is None


@with_compiler
def test_a_library_where_the_loader_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys, pynvml\n"
        "from gpudoctor.probes import nvml_library\n"
        "nvml_library.FOLDERS = ('/not/there', sys.argv[1])\n"
        "nvml_library.preload('libnvidia-ml.so.1')\n"
        "pynvml.nvmlInit()\n"
        "print(nvml_library.loaded_path('libnvidia-ml.so'), pynvml.nvmlDeviceGetCount())\n"
    )
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.delenv("GPUDOCTOR_STANDIN_NVML", raising=False)
    folder = build("nvml", ())
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode == 0 and str(folder) not in done.stdout:
        pytest.skip("the loader finds another libnvidia-ml.so.1 on this machine")
    assert done.stdout.split() == [f"{folder}/libnvidia-ml.so.1", "8"], done.stderr


@with_compiler
def test_structures_are_as_long_as_the_python_librarys() -> None:
    names = [
        "nvmlPciInfo_t", "c_nvmlMemory_t", "c_nvmlMemory_v2_t", "c_nvmlBAR1Memory_t", "c_nvmlUtilization_t",
        "c_nvmlRowRemapperHistogramValues", "c_nvmlFieldValue_t", "c_nvmlEccSramErrorStatus_v1_t",
        "c_nvmlRepairStatus_t", "c_nvmlMarginTemperature_v1_t", "c_nvmlTemperature_v1_t", "c_nvmlGpuFabricInfo_t",
        "c_nvmlGpuFabricInfo_v2_t", "c_nvmlGpuFabricInfo_v3_t", "c_nvmlProcessInfo_v2_t",
    ]
    code = (
        "import ctypes, pynvml, sys\n"
        "library = ctypes.CDLL(sys.argv[1])\n"
        "for name in sys.argv[2:]:\n"
        "    assert library.standin_sizeof(name.encode()) == ctypes.sizeof(getattr(pynvml, name)), name\n"
    )
    subprocess.run([sys.executable, "-c", code, str(build("nvml", ()) / "libnvidia-ml.so.1"), *names], check=True)
