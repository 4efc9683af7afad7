"""CUDA, PyTorch and libraries: what is broken is named, and healthy pairs are not accused."""

from typing import Any

import pytest
from msgspec.structs import replace

from gpudoctor.checking.target import Target, parse_engine
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda_libraries import CudaLibrary, LoaderChoice
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.python_envs import Extension, PythonEnvironment, PythonEnvs, PythonPackage, TorchBuild
from gpudoctor.facts.toolkits import CompatLibrary, Compiler, Toolkit, Toolkits
from gpudoctor.testing import judge_check

HOST = Host(hostname="gpu01", os_id="ubuntu", os_like=("debian",), architecture="x86_64", virtual_machine=False)
CU128 = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


def gpus(name: str = "NVIDIA A100-SXM4-80GB", capability: tuple[int, int] = (8, 0), driver: str = "580.95.05",
         count: int = 1) -> Gpus:
    return Gpus(driver_version=driver, count=count, gpus=tuple(
        Gpu(index=n, name=name, compute_capability=capability) for n in range(count)))


def env(torch: TorchBuild | Unavailable | None, *packages: PythonPackage, **changes: Any) -> PythonEnvironment:
    base = PythonEnvironment(path="/opt/e", kind="uv", found=("opt",), python="3.12.3", torch=torch, packages=packages)
    return replace(base, **changes)


def torch(version: str = "2.10.0+cu128", archs: tuple[str, ...] = CU128, **changes: Any) -> TorchBuild:
    local = version.partition("+")[2]
    cuda = f"{local[2:-1]}.{local[-1]}" if local.startswith("cu") else None
    return replace(TorchBuild(version=version, cuda=cuda, hip=None, declared=archs, path="/opt/e/torch"), **changes)


VLLM = PythonPackage(name="vllm", version="0.19.1", requires=("torch==2.10.0",))


def judge(check: str, *envs: PythonEnvironment, target: Target | None = None, **sections: Any) -> list[tuple[str, str]]:
    facts = {"host": HOST, "gpus": gpus(), "driver": Driver(loaded_version="580.95.05"),
             "python_envs": PythonEnvs(environments=envs), "toolkits": Toolkits(nvcc_on_path=None, cuda_home=None),
             **sections}
    return [(r.status, r.subject) for r in judge_check(check, target=target, **facts)]


def statuses(check: str, *envs: PythonEnvironment, **sections: Any) -> list[str]:
    return [status for status, _ in judge(check, *envs, **sections)]


# Guides say that PyTorch's CUDA must match the toolkit, and that the "CUDA Version" of nvidia-smi is a requirement.


@pytest.mark.parametrize("check", ["stack.cuda-too-new", "stack.ptx-too-new", "torch.driver-too-old",
                                   "torch.arch-missing", "torch.cpu-only", "engine.driver-too-old",
                                   "engine.gpu-unsupported", "engine.torch-mismatch", "stack.libraries-missing"])
@pytest.mark.parametrize("driver", ["525.60.13", "535.247.01", "550.163.01", "570.195.03", "580.95.05", "595.58.03"])
def test_cuda_12_9_runs_on_every_driver_of_cuda_12_and_later(check: str, driver: str) -> None:
    found = statuses(check, env(torch(), VLLM), gpus=gpus(driver=driver), driver=Driver(loaded_version=driver))
    assert set(found) <= {"pass", "skip"}, found


def test_a_toolkit_of_another_version_is_no_fault() -> None:
    kit = Toolkit(path="/usr/local/cuda-12.1", version="12.1", nvcc="/usr/local/cuda-12.1/bin/nvcc", nvcc_on_path=True)
    tools = Toolkits(toolkits=(kit,), nvcc_on_path=kit.nvcc, cuda_home=None)
    for check in ("stack.nvcc-missing", "stack.cuda-too-new", "engine.torch-mismatch", "stack.library-shadowed"):
        assert set(statuses(check, env(torch(), VLLM), toolkits=tools)) <= {"pass", "skip"}


def test_pip_version_without_suffix_is_no_cpu_build() -> None:
    build = torch("2.10.0", cuda="12.8")
    assert statuses("torch.cpu-only", env(build, VLLM)) == ["pass"]


def test_cpu_build_under_an_engine_fails_and_elsewhere_is_a_note() -> None:
    cpu = torch("2.10.0+cpu", ())
    assert judge("torch.cpu-only", env(cpu, VLLM)) == [("fail", "env:/opt/e")]
    notebook = env(cpu, path="/home/jane/notebook")
    assert judge("torch.cpu-only", env(torch(), VLLM), notebook) == [
        ("pass", "env:/opt/e"), ("info", "env:/home/jane/notebook")]


def test_rocm_build_on_nvidia_is_named() -> None:
    assert statuses("torch.cpu-only", env(torch("2.10.0+rocm6.4", (), hip="6.4"), VLLM)) == ["fail"]


@pytest.mark.parametrize(("section", "check"), [("python_envs", "torch.cpu-only"), ("toolkits", "stack.nvcc-missing"),
                                                ("engines", "engine.driver-too-old")])
@pytest.mark.parametrize(("kind", "status"), [("timeout", "unknown"), ("not-recorded", "skip"), ("error", "unknown"),
                                              ("not-applicable", "skip")])
def test_a_gatekeeper_never_turns_a_failed_look_into_green(section: str, check: str, kind: Any, status: str) -> None:
    facts: dict[str, Any] = {"host": HOST, "gpus": gpus(), section: Unavailable("it hung", kind)}
    assert next(r.status for r in judge_check(check, **facts)) == status


def test_torch_that_could_not_be_read_is_unknown() -> None:
    assert statuses("torch.cpu-only", env(Unavailable("cut short"), VLLM)) == ["unknown"]
    build = torch(archs=(), declared=Unavailable("no string"), compiled=Unavailable("no scan"))
    assert statuses("torch.arch-missing", env(build, VLLM)) == ["unknown"]


@pytest.mark.parametrize(("capability", "archs", "status"), [
    ((8, 6), ("sm_80",), "pass"), ((8, 9), ("sm_86",), "pass"), ((8, 0), ("sm_86",), "fail"),
    ((9, 0), ("sm_80", "sm_90a"), "pass"), ((10, 0), ("sm_90a",), "fail"), ((12, 1), ("sm_120",), "pass"),
    ((10, 3), ("sm_100",), "pass"), ((12, 0), ("sm_100",), "fail"), ((9, 0), ("compute_80",), "info"),
    ((8, 7), ("sm_80",), "info"), ((11, 0), ("sm_110",), "pass"), ((7, 0), ("sm_75",), "fail"),
])
def test_architectures_are_compared_as_cuda_does(capability: tuple[int, int], archs: tuple[str, ...],
                                                 status: str) -> None:
    card = gpus("Some GPU", capability)
    assert statuses("torch.arch-missing", env(torch(archs=archs), VLLM), gpus=card) == [status]


def test_ptx_fails_only_where_the_driver_is_older_than_its_cuda() -> None:
    build = env(torch("2.8.0+cu129", ("sm_80", "compute_90")), VLLM)
    card = {"gpus": gpus("Some GPU", (12, 0), "570.195.03"), "driver": Driver(loaded_version="570.195.03")}
    assert "fail" in statuses("stack.ptx-too-new", build, **card)
    newer = {"gpus": gpus("Some GPU", (12, 0), "575.57.08"), "driver": Driver(loaded_version="575.57.08")}
    assert set(statuses("stack.ptx-too-new", build, **newer)) <= {"pass", "skip"}


def test_wsl_is_judged_by_its_cuda_and_not_by_windows_numbers() -> None:
    wsl = replace(HOST, wsl=True)
    here = Gpus(driver_version="528.49", cuda_version=12000, count=1, gpus=gpus().gpus)
    assert statuses("torch.driver-too-old", env(torch(), VLLM), host=wsl, gpus=here) == ["pass"]
    assert statuses("torch.driver-too-old", env(torch("2.14.0+cu130"), VLLM), host=wsl, gpus=here) == ["fail"]


@pytest.mark.parametrize(("name", "capability", "compat", "driver", "status"), [
    ("NVIDIA GeForce RTX 4090", (8, 9), "580.65.06", "570.195.03", "fail"),
    ("NVIDIA A100-SXM4-80GB", (8, 0), "580.65.06", "570.195.03", "pass"),
    ("NVIDIA A100-SXM4-80GB", (8, 0), "570.26", "580.95.05", "fail"),
    ("NVIDIA RTX A6000", (8, 6), "580.65.06", "570.195.03", "warn"),
])
def test_forward_compatibility(name: str, capability: tuple[int, int], compat: str, driver: str, status: str) -> None:
    tools = Toolkits(nvcc_on_path=None, cuda_home=None, compat=(
        CompatLibrary(path="/usr/local/cuda/compat/libcuda.so.1", version=compat, reached="ld-library-path"),))
    assert statuses("stack.forward-compat", toolkits=tools, gpus=gpus(name, capability, driver)) == [status]
    lying = replace(tools, compat=(replace(tools.compat[0], reached=None),))
    assert statuses("stack.forward-compat", toolkits=lying, gpus=gpus(name, capability, driver)) == ["pass"]


def test_nvcc_is_needed_only_where_something_compiles() -> None:
    assert statuses("stack.nvcc-missing", env(torch(), VLLM)) == ["info"]
    flashinfer = PythonPackage(name="flashinfer-python", version="0.6.1")
    sglang = PythonPackage(name="sglang", version="0.5.8")
    cache = PythonPackage(name="flashinfer-jit-cache", version="0.6.1")
    assert statuses("stack.nvcc-missing", env(torch(), sglang, flashinfer)) == ["fail"]
    assert statuses("stack.nvcc-missing", env(torch(), sglang, flashinfer, cache)) == ["info"]
    assert statuses("stack.nvcc-missing", env(torch(), VLLM, flashinfer)) == ["info"]
    assert statuses("stack.nvcc-missing", env(torch(), sglang, flashinfer, nvcc="/opt/e/bin/nvcc")) == ["info"]
    kit = Toolkit(path="/usr/local/cuda-12.8", nvcc="/usr/local/cuda-12.8/bin/nvcc")
    off = Toolkits(toolkits=(kit,), nvcc_on_path=None, cuda_home=None)
    assert statuses("stack.nvcc-missing", env(torch(), sglang, flashinfer), toolkits=off) == ["warn"]


def test_gcc_is_judged_only_where_a_source_build_happens() -> None:
    old = Toolkits(nvcc_on_path=None, cuda_home=None, compilers=(
        Compiler(name="g++", path="/usr/bin/g++", version="8.5.0", default=True),))
    assert statuses("stack.compiler-too-old", env(torch(), VLLM), toolkits=old) == ["skip"]
    own = replace(VLLM, editable=True)
    assert statuses("stack.compiler-too-old", env(torch(), own), toolkits=old) == ["warn"]
    new = replace(old, compilers=(Compiler(name="g++", path="/usr/bin/g++", version="11.4.0", default=True),))
    assert statuses("stack.compiler-too-old", env(torch(), own), toolkits=new) == ["pass"]
    triton = PythonPackage(name="triton", version="3.6.0")
    assert statuses("stack.compiler-too-old", env(torch(), VLLM, triton), toolkits=replace(old, compilers=())) == [
        "fail"]


def test_headers_for_triton_are_asked_of_the_system_alone() -> None:
    triton = PythonPackage(name="triton", version="3.6.0")
    for kind, status in (("venv", "warn"), ("conda", "skip"), ("uv", "skip")):
        assert statuses("stack.nvrtc-headers-missing", env(torch(), VLLM, triton, kind=kind)) == [status]
    there = Toolkits(nvcc_on_path=None, cuda_home=None, python_headers=("3.12",))
    assert statuses("stack.nvrtc-headers-missing", env(torch(), VLLM, triton, kind="venv"), toolkits=there) == ["pass"]


def loads(soname: str, path: str | None, via: str = "rpath", bundled: str | None = "/opt/e/own") -> LoaderChoice:
    return LoaderChoice(soname=soname, wanted_by="torch/lib/libtorch_cuda.so", via=via, path=path, bundled=bundled)


def test_shadowed_missing_and_second_libraries() -> None:
    own = CudaLibrary(soname="libcublas.so.12", path="/opt/e/own", origin="wheel", version="12.8.4.1")
    healthy = env(torch(), VLLM, libraries=(own,), loads=(loads("libcublas.so.12", "/opt/e/own"),))
    shadowed = replace(healthy, loads=(loads("libcublas.so.12", "/usr/local/cuda/lib64/x", "ld-library-path"),))
    gone = replace(healthy, loads=(loads("libcublas.so.12", None, "missing", None),))
    driver = replace(healthy, loads=(loads("libcuda.so.1", None, "missing", None),))
    cudnn = replace(healthy, loads=(loads("libcudnn.so.9", "/usr/lib/x", "ld-library-path"),))
    assert statuses("stack.library-shadowed", healthy) == ["pass"]
    assert statuses("stack.library-shadowed", shadowed) == ["warn"]
    assert statuses("stack.library-shadowed", cudnn) == ["pass"]
    assert statuses("stack.cudnn", cudnn) == ["warn"]
    assert statuses("stack.cudnn", healthy) == ["skip"]
    assert statuses("stack.libraries-missing", gone) == ["fail"]
    assert statuses("stack.libraries-missing", driver) == ["pass"]


def test_cudnn_without_code_for_volta() -> None:
    lib = CudaLibrary(soname="libcudnn.so.9", path="/opt/e/own", origin="wheel", version="9.17.0.1")
    each = env(torch(), VLLM, libraries=(lib,), loads=(loads("libcudnn.so.9", "/opt/e/own"),))
    assert statuses("stack.cudnn", each, gpus=gpus("Tesla V100-SXM2-32GB", (7, 0))) == ["fail"]
    assert statuses("stack.cudnn", each) == ["pass"]


def test_engine_beside_another_torch_or_cuda() -> None:
    extension = Extension(package="vllm", path="vllm/_C.abi3.so", needs=("libcudart.so.12",))
    runtime = CudaLibrary(soname="libcudart.so.12", path="/opt/e/rt", origin="wheel", version="12.8.90")
    good = env(torch(), VLLM, extensions=(extension,), libraries=(runtime,))
    bad = replace(good, torch=torch("2.14.1+cu130"), libraries=(replace(runtime, soname="libcudart.so.13"),))
    assert statuses("engine.torch-mismatch", good) == ["pass"]
    assert statuses("engine.cuda-runtime-missing", good) == ["pass"]
    assert statuses("engine.torch-mismatch", bad) == ["fail"]
    assert statuses("engine.cuda-runtime-missing", bad) == ["fail"]


def test_an_environment_that_nobody_named_is_left_alone() -> None:
    target = Target(engines=(parse_engine("sglang==0.5.8"),))
    other = env(torch("2.14.0+cu130"), VLLM)
    found = judge("torch.driver-too-old", other, target=target, gpus=gpus(driver="535.247.01"))
    assert found == [("skip", "host")]
