"""A CUDA library that an engine or PyTorch loads is nowhere.

## Why it matters
Importing ends in "libcublas.so.12: cannot open shared object file". Wheels of PyTorch bring every CUDA library they
need as nvidia-* packages, so a missing one means a half-removed or half-copied environment, not a missing toolkit. The
driver's own libcuda is another matter (driver.nvml-unusable, driver.library-mismatch).

## How to fix
Reinstall the package that brings the library.

## References
- https://pypi.org/project/nvidia-cublas-cu12/
- https://docs.vllm.ai/en/stable/getting_started/installation/gpu.html
- https://github.com/pytorch/pytorch/issues/88869
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.cuda_libraries import LoaderChoice
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs, TorchBuild
from gpudoctor.judging.builds import environments, subject_of

#: From the driver, not from CUDA's packages.
_DRIVER = ("libcuda.so", "libnvidia-", "libnvcuvid.so")


@check()
def libraries_missing(python_envs: PythonEnvs, target: Target) -> Iterator[Finding]:
    """Ask what the loader would find for each file of PyTorch and the engines."""
    judged = False
    for each in environments(python_envs, target):
        if each.loads:
            judged = True
            yield from _judge(each)
    if not judged:
        yield skipped("host", "no environment whose libraries were looked at")


def _judge(each: PythonEnvironment) -> Iterator[Finding]:
    missing = [c for c in each.loads if c.via == "missing" and not c.soname.startswith(_DRIVER)]
    # Another major version of the runtime is engine.cuda-runtime-missing's matter.
    runtimes = {lib.name for lib in each.libraries}
    missing = [c for c in missing if not (c.soname.startswith("libcudart.so.") and "libcudart" in runtimes)]
    if not missing:
        yield passed(subject_of(each), "the loader finds every CUDA library that {path} asks for", path=each.path,
                     evidence=saw("libraries asked for", len(each.loads), each.path))
        return
    names = tuple(dict.fromkeys(c.soname for c in missing))
    users = tuple(dict.fromkeys(c.wanted_by for c in missing))
    seen = (saw("not found", names, each.path), saw("asked for by", users[:6], each.path))
    fix = step("Reinstall what asks for it, with everything it requires.",
               "pip install --force-reinstall {package}", package=_package(each))
    if any(_important(c) for c in missing):
        yield failed(subject_of(each), "{libraries} is nowhere, and {users} in {path} loads it", libraries=names,
                     users=users[:3], path=each.path, evidence=seen, fix=fix)
    else:
        yield warned(subject_of(each), "{libraries} is nowhere; {users} in {path} would load it", libraries=names,
                     users=users[:3], path=each.path, evidence=seen, fix=fix)


def _important(choice: LoaderChoice) -> bool:
    return any(name in choice.wanted_by for name in ("libtorch", "torch/lib", "vllm/_C", "sgl_kernel", "libc10"))


def _package(each: PythonEnvironment) -> str:
    build = each.torch
    return f"torch=={build.version.partition('+')[0]}" if isinstance(build, TorchBuild) else "torch"
