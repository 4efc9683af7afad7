"""What the results of the deep probe mean."""

from typing import Any

import pytest

from gpudoctor.checking.causes import link
from gpudoctor.checking.target import Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda import Cuda, CudaGpu
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.pci import Pci
from gpudoctor.testing import judge_check

TWO = Gpus(count=2, gpus=(Gpu(index=0, name="Tesla V100"), Gpu(index=1, name="Tesla V100")))
SOUND = CudaGpu(index=0, ok=True, copied_bytes=1 << 26)


def judge(cuda: Cuda | Unavailable, **more: Any) -> list[tuple[str, str]]:
    sections = {"gpus": TWO, "cuda": cuda, **more}
    return [(r.subject, r.status) for r in judge_check("cuda.unusable", **sections)]


def test_not_asked_is_a_skip_that_names_the_option() -> None:
    (result,) = judge_check("cuda.unusable")
    assert result.status == "skip"
    assert "--deep" in result.finding.message


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("timeout", "unknown"), ("crashed", "unknown"), ("error", "unknown"), ("not-applicable", "skip")],
)
def test_a_probe_that_failed_is_no_pass(kind: Any, expected: str) -> None:
    assert judge(Unavailable("x", kind)) == [("host", expected)]


def test_sound_gpus_pass() -> None:
    cuda = Cuda(init_code=0, driver_version=12020, gpus=(SOUND,))
    assert judge(cuda) == [("host", "pass"), ("gpu:0", "pass")]


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (CudaGpu(index=1, step="cuDevicePrimaryCtxRetain", code=46, error="x"), "fail"),
        (CudaGpu(index=1, step="cuMemAlloc_v2", code=2, error="x"), "unknown"),
        (CudaGpu(index=1, copied_bytes=1 << 26, mismatches=3), "fail"),
        (CudaGpu(index=1, failure="did not answer within 20 s in cuInit"), "fail"),
        (CudaGpu(index=1, failure="crashed (SIGSEGV) in cuInit"), "fail"),
        (CudaGpu(index=1, failure="not reached: the cuda probe ran out of time (--timeout)"), "unknown"),
        (CudaGpu(index=1, failure="ran out of time (--timeout) in its test"), "unknown"),
        (CudaGpu(index=1, refused="a program computes on it"), "skip"),
    ],
)
def test_one_gpu(gpu: CudaGpu, expected: str) -> None:
    assert judge(Cuda(init_code=0, gpus=(SOUND, gpu)))[2:] == [("gpu:1", expected)]


def test_a_gpu_that_was_not_chosen_is_not_judged() -> None:
    cuda = Cuda(init_code=0, gpus=(SOUND, CudaGpu(index=1, mismatches=3)))
    assert judge(cuda, target=Target(gpus=(0,))) == [("host", "pass"), ("gpu:0", "pass")]


@pytest.mark.parametrize("code", [100, 802, 803, 804, 999, 12345])
def test_a_start_that_fails_is_said_once(code: int) -> None:
    failing = tuple(CudaGpu(index=n, step="cuInit", code=code, error="x") for n in (0, 1))
    assert judge(Cuda(init_code=code, init_error="cuInit: x", gpus=failing)) == [("host", "fail")]


def test_no_library_and_a_start_that_hangs() -> None:
    gone = Unavailable("libcuda.so.1 cannot be loaded", "not-applicable")
    assert judge(Cuda(init_code=gone, init_error=gone.reason)) == [("host", "fail")]
    hung = Unavailable("CUDA: did not answer within 20 s in cuInit", "timeout")
    assert judge(Cuda(init_code=hung, gpus=(SOUND,))) == [("host", "fail"), ("gpu:0", "pass")]


def test_a_machine_without_nvidia_gpu_needs_no_cuda() -> None:
    gone = Unavailable("libcuda.so.1 cannot be loaded", "not-applicable")
    cuda = Cuda(init_code=gone, init_error=gone.reason)
    assert judge(cuda, gpus=Gpus(error_code=12), pci=Pci()) == [("host", "skip")]


def test_a_broken_unified_memory_module_is_the_cause() -> None:
    cuda = Cuda(init_code=999, init_error="cuInit: CUDA_ERROR_UNKNOWN")
    results = [
        *judge_check("cuda.unusable", gpus=TWO, cuda=cuda), *judge_check("driver.uvm-broken", gpus=TWO, cuda=cuda),
    ]
    first, second = link(results)
    assert (first.id, first.status) == ("driver.uvm-broken", "fail")
    assert second.caused_by == "driver.uvm-broken"
