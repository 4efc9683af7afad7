"""An engine's files ask for a CUDA runtime of another major version than its environment has.

## Why it matters
Importing the engine ends in "libcudart.so.12: cannot open shared object file". It happens when PyTorch was upgraded or
reinstalled beside the engine (from a CUDA 12 build to a CUDA 13 one, or back), or when the engine's wheel for one CUDA
was put on a PyTorch for another. Minor versions may differ: vLLM's wheels of the 0.11 to 0.19 era were built with 12.9
beside a PyTorch of 12.8.

## How to fix
Install the engine in a fresh environment and let it choose its PyTorch, or take the engine's build for this CUDA.

## References
- https://docs.vllm.ai/en/stable/getting_started/installation/gpu.html
- https://github.com/vllm-project/vllm/issues/34867
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step
from gpudoctor.facts.python_envs import Extension, PythonEnvironment, PythonEnvs, TorchBuild
from gpudoctor.judging.builds import environments, subject_of
from gpudoctor.judging.cuda_fit import major


@check()
def cuda_runtime_missing(python_envs: PythonEnvs, target: Target) -> Iterator[Finding]:
    """Compare the CUDA runtime that each engine's files name with the one that lies beside them."""
    judged = False
    for each in environments(python_envs, target):
        names = {package.name for package in each.engines} | {"flash-attn", "sgl-kernel", "sglang-kernel", "xformers"}
        for package in sorted(names):
            wanted = _wanted(each, package)
            if wanted is not None:
                judged = True
                yield _judge(each, package, *wanted)
    if not judged:
        yield skipped("host", "no engine's files that name a CUDA runtime were found")


def _wanted(each: PythonEnvironment, package: str) -> tuple[int, Extension] | None:
    for extension in each.extensions:
        for soname in extension.needs if extension.package == package else ():
            number = major(soname.removeprefix("libcudart.so.")) if soname.startswith("libcudart.so.") else None
            if number is not None:
                return number, extension
    return None


def _judge(each: PythonEnvironment, package: str, wanted: int, extension: Extension) -> Finding:
    have = sorted({lib.major for lib in each.libraries if lib.name == "libcudart" and lib.major is not None})
    build = each.torch if isinstance(each.torch, TorchBuild) else None
    torch = major(build.cuda) if build is not None and isinstance(build.cuda, str) else None
    soname = f"libcudart.so.{wanted}"
    choice = next((c for c in each.loads if c.soname == soname and c.path is not None), None)
    seen = (saw("CUDA runtime asked for", soname, f"{each.path}: {extension.path}"),
            saw("CUDA runtimes in the environment", tuple(have), each.path),
            saw("PyTorch", build.version if build else None, each.path))
    there = wanted in have or choice is not None or (not have and torch == wanted)
    if there and (torch is None or torch == wanted):
        return passed(subject_of(each), "{package} finds the CUDA {wanted} runtime it was built for", package=package,
                      wanted=wanted, evidence=seen)
    if not have and torch is None:
        return skipped(subject_of(each), "{path} has neither a CUDA runtime nor a CUDA build of PyTorch to compare "
                       "with", path=each.path)
    version = next((p.version for p in each.packages if p.name == package), None)
    fix = step("Install {package} in a fresh environment and let it bring its own PyTorch.",
               "python3 -m venv fresh && fresh/bin/pip install {package}=={version}", package=package,
               version=version or "VERSION")
    if torch is not None and torch != wanted:
        return failed(subject_of(each), "{package} in {path} was built for CUDA {wanted}, PyTorch beside it for CUDA "
                      "{torch}", package=package, path=each.path, wanted=wanted, torch=torch, evidence=seen, fix=fix)
    return failed(subject_of(each), "{package} in {path} asks for libcudart.so.{wanted}, which is nowhere",
                  package=package, path=each.path, wanted=wanted, evidence=seen, fix=fix)
