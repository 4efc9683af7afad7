"""The deep probe on a stand-in driver library built from C."""

import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from standin import machine, stand_in

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda import Cuda, P2pPair
from gpudoctor.probes import take
from gpudoctor.probes.cuda import rounds
from gpudoctor.probes.cuda_gpu import wrong_bytes
from gpudoctor.probes.cuda_list import Listed
from gpudoctor.probes.runner import ProbeSpec
from gpudoctor.probes.take import take_snapshot

with_compiler = pytest.mark.tier("gcc")
PEERS = "gpu.*.peer = 1"


class Deep:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch

    def section(
        self, text: str, sources: Sequence[str] = ("nvml", "cuda"), timeout: float = 60, **options: Any
    ) -> Cuda | Unavailable:
        for name, value in stand_in(self.folder, text, tuple(sources)).items():
            self.monkeypatch.setenv(name, value)
        spec = ProbeSpec(name="cuda", modules=("cuda",), sections=("cuda",), patience=60, deep=True)
        self.monkeypatch.setattr(take, "PROBES", (spec,))
        return take_snapshot(deep=True, timeout=timeout, options={"patience": 3, **options}).cuda

    def cuda(self, text: str, **more: Any) -> Cuda:
        section = self.section(text, **more)
        assert isinstance(section, Cuda), section
        return section


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deep:
    return Deep(tmp_path, monkeypatch)


@with_compiler
def test_two_sound_gpus(deep: Deep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    lines = ["banner = noise on stdout", "gpu.0.pcie.generation = 2", "gpu.1.copy_rate = 2000000000", PEERS]
    cuda = deep.cuda(machine("2x-v100-driver-470", *lines))
    assert (cuda.init_code, cuda.init_error, cuda.driver_version) == (0, None, 11040)
    assert [(gpu.index, gpu.ok, gpu.mismatches, gpu.device_count) for gpu in cuda.gpus] == [
        (0, True, 0, 1), (1, True, 0, 1),
    ]
    assert [gpu.loaded_generation for gpu in cuda.gpus] == [2, 3]
    assert [gpu.loaded_width for gpu in cuda.gpus] == [16, 16]
    slow = cuda.gpus[1].host_to_device_bytes_per_second
    assert isinstance(slow, float)
    assert 0.2e9 < slow <= 2e9
    assert cuda.pairs == (P2pPair(first=0, second=1, supported=True, ok=True, control_ok=True),)


@with_compiler
def test_wrong_data_errors_hangs_and_crashes_stay_with_their_gpu(deep: Deep) -> None:
    cuda = deep.cuda(
        machine(
            "8x-h100-hgx",
            "gpu.1.corrupt = 3",
            "gpu.2.fail.cuDevicePrimaryCtxRetain = 46",
            "gpu.3.hang.cuMemAlloc_v2 = 1",
            "gpu.4.crash.cuMemcpyHtoD_v2 = 1",
            "gpu.5.fail.nvmlDeviceGetUUID = 15",
            "gpu.6.proc.0 = C,1,1000",
            "gpu.7.utilization = 80",
        )
    )
    assert cuda.init_code == 0
    assert [gpu.index for gpu in cuda.gpus] == list(range(8))
    assert [gpu.ok for gpu in cuda.gpus] == [True] + [False] * 7
    assert (cuda.gpus[1].mismatches, cuda.gpus[1].code) == (6, None)
    assert (cuda.gpus[2].step, cuda.gpus[2].code) == ("cuDevicePrimaryCtxRetain", 46)
    assert cuda.gpus[3].failure == "did not answer within 3 s in cuMemAlloc_v2"
    assert cuda.gpus[4].failure == "crashed (SIGSEGV) in cuMemcpyHtoD_v2"
    assert cuda.gpus[5].failure == "nvmlDeviceGetUUID: GPU is lost (NVML code 15)"
    assert cuda.gpus[6].refused == "a program computes on it"
    assert cuda.gpus[7].refused == "it is 80 % busy"
    assert cuda.pairs == ()


@with_compiler
def test_a_busy_gpu_is_tested_when_told(deep: Deep) -> None:
    text = machine("2x-v100-driver-470", "gpu.*.utilization = 80")
    assert [(gpu.index, gpu.ok) for gpu in deep.cuda(text, use_busy=True, gpus=[1]).gpus] == [(1, True)]


@with_compiler
@pytest.mark.parametrize("code", [999, 802, 803])
def test_cuda_that_does_not_start_keeps_its_code(deep: Deep, code: int) -> None:
    cuda = deep.cuda(machine("2x-v100-driver-470", f"fail.cuInit = {code}"))
    assert cuda.init_code == code
    assert str(cuda.init_error).startswith("cuInit: CUDA_ERROR_")
    assert [(gpu.step, gpu.code, gpu.ok) for gpu in cuda.gpus] == [("cuInit", code, False)] * 2


@with_compiler
def test_one_wedged_gpu_hangs_the_start_but_not_the_other_gpus(deep: Deep) -> None:
    cuda = deep.cuda(machine("2x-v100-driver-470", "gpu.1.hang.cuInit = 1"))
    assert isinstance(cuda.init_code, Unavailable)
    assert cuda.init_code.kind == "timeout"
    assert [gpu.ok for gpu in cuda.gpus] == [True, False]
    assert cuda.gpus[1].failure == "did not answer within 3 s in cuInit"


@with_compiler
def test_nvml_is_not_needed(deep: Deep) -> None:
    cuda = deep.cuda(machine("2x-v100-driver-470", "fail.nvmlInitWithFlags = 999"))
    assert [(gpu.index, gpu.ok) for gpu in cuda.gpus] == [(0, True), (1, True)]
    assert isinstance(cuda.gpus[0].loaded_generation, Unavailable)


@with_compiler
def test_pairs_are_checked_by_their_result(deep: Deep) -> None:
    cuda = deep.cuda(
        machine(
            "4x-quadro-rtx-8000",
            PEERS,
            "gpu.0.peer_corrupt = 5",
            "gpu.1.peer.2 = 0",
        )
    )
    found = {(pair.first, pair.second): pair for pair in cuda.pairs}
    assert list(found) == list(itertools.combinations(range(4), 2))
    corrupt = found[0, 1]
    # Four of the five bytes fit the short message, five are wrong in the long one.
    assert (corrupt.supported, corrupt.ok, corrupt.control_ok, corrupt.mismatches) == (True, False, True, 9)
    assert found[1, 2] == P2pPair(first=1, second=2, supported=False, control_ok=True)
    assert found[1, 3] == P2pPair(first=1, second=3, supported=True, ok=True, control_ok=True)


@with_compiler
def test_a_hanging_exchange_is_cut_off(deep: Deep) -> None:
    cuda = deep.cuda(machine("2x-v100-driver-470", PEERS, "gpu.0.hang.cuMemcpyPeer = 1"))
    assert cuda.pairs == (
        P2pPair(
            first=0, second=1, supported=True, control_ok=True, failure="did not answer within 3 s in cuMemcpyPeer"
        ),
    )


@with_compiler
def test_a_call_between_two_gpus_that_fails(deep: Deep) -> None:
    cuda = deep.cuda(machine("2x-v100-driver-470", PEERS, "fail.cuMemcpyPeer = 700"))
    assert cuda.pairs[0].ok is False
    assert cuda.pairs[0].failure == "cuMemcpyPeer: CUDA_ERROR_STAND_IN (CUDA code 700)"


@with_compiler
def test_no_cuda_library(deep: Deep) -> None:
    cuda = deep.cuda(machine("2x-v100-driver-470"), sources=("nvml",))
    if cuda.init_code == 0:
        pytest.skip("this machine has a CUDA driver, which the loader finds all the same")
    assert cuda.init_error is not None
    assert isinstance(cuda.init_code, Unavailable) or cuda.init_code != 0


@with_compiler
def test_no_child_outlives_the_time_for_all(deep: Deep, tmp_path: Path) -> None:
    cuda = deep.section(machine("2x-v100-driver-470", "hang.cuInit = 1"), timeout=2, patience=600)
    assert isinstance(cuda, Unavailable)
    assert cuda.kind == "timeout"
    for _ in range(100):
        if not (left := users_of(tmp_path)):
            break
        time.sleep(0.1)
    assert left == []


def users_of(folder: Path) -> list[str]:
    """Return the processes, but this one, whose environment names the folder."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            if f"GPUDOCTOR_STANDIN_CUDA={folder}".encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 8])
def test_every_pair_meets_once_and_nobody_twice_in_a_round(count: int) -> None:
    played = list(rounds([Listed(index=index) for index in range(count)]))
    for pairs in played:
        busy = [gpu.index for pair in pairs for gpu in pair]
        assert len(busy) == len(set(busy))
    met = sorted((first.index, second.index) for pairs in played for first, second in pairs)
    assert met == list(itertools.combinations(range(count), 2))


def test_wrong_bytes_are_counted() -> None:
    assert wrong_bytes(b"abcd", b"abcd") == 0
    assert wrong_bytes(b"abcd", b"xbcx") == 2
    assert wrong_bytes(b"\0" * 1000, b"\1" * 1000) == 1000
