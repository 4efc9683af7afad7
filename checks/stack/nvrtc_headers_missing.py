"""Run-time compilation finds no headers: CUDA's beside nvcc, or Python's for Triton.

## Why it matters
FlashInfer and Triton compile at the first request. Without `cuda_runtime.h` the build of a kernel fails although nvcc
is there (a distribution may package headers apart); without `Python.h` Triton cannot build its launcher ("fatal error:
Python.h: No such file or directory") and vLLM stops during start-up. Conda and uv bring Python's headers along; the
distribution's Python has them in a package of its own.

## How to fix
Install the headers.

## References
- https://docs.flashinfer.ai/installation.html
- https://github.com/triton-lang/triton/blob/main/python/triton/runtime/build.py
- https://docs.nvidia.com/cuda/cuda-installation-guide-linux/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, Target, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs
from gpudoctor.facts.toolkits import Toolkits
from gpudoctor.judging.builds import environments, subject_of
from gpudoctor.judging.compilation import compiles, uses_triton
from gpudoctor.judging.remedies import fitting


@check()
def nvrtc_headers_missing(
    toolkits: Toolkits, python_envs: PythonEnvs, host: Host | Unavailable, target: Target
) -> Iterator[Finding]:
    """Look for the headers that each environment's run-time compilation includes."""
    judged = False
    for each in environments(python_envs, target):
        if each.nvcc is None and (why := compiles(each)) and any(t.nvcc for t in toolkits.toolkits):
            judged = True
            yield _cuda(each, why, toolkits)
        if uses_triton(each) and each.kind in ("system", "venv") and each.container is None:
            judged = True
            yield _python(each, toolkits, host)
    if not judged:
        yield skipped("host", "nothing found here compiles at run time with this system's headers")


def _cuda(each: PythonEnvironment, why: str, toolkits: Toolkits) -> Finding:
    compilers = tuple(t for t in toolkits.toolkits if t.nvcc is not None)
    chosen = next((t for t in compilers if t.nvcc_on_path), compilers[0])
    seen = saw("headers beside nvcc", chosen.headers, chosen.path)
    if any("cuda_runtime.h" in t.headers for t in toolkits.toolkits):
        return passed(subject_of(each), "CUDA's headers are there for what {path} compiles", path=each.path,
                      evidence=seen)
    fix = step("Install the headers of that toolkit: cuda-cudart-dev of its version from NVIDIA's repository, or the "
               "whole toolkit.")
    if why == "flashinfer" and each.package("sglang") is not None:
        return failed(subject_of(each), "SGLang in {path} compiles FlashInfer's kernels at the first request, and "
                      "{toolkit} has no cuda_runtime.h", path=each.path, toolkit=chosen.path, evidence=seen, fix=fix)
    return warned(subject_of(each), "{path} compiles CUDA code ({why}), and {toolkit} has no cuda_runtime.h",
                  path=each.path, why=why, toolkit=chosen.path, evidence=seen, fix=fix)


def _python(each: PythonEnvironment, toolkits: Toolkits, host: Host | Unavailable) -> Finding:
    minor = ".".join((each.python or "").split(".")[:2])
    seen = (saw("Python", each.python, each.path), saw("Python.h is there for", toolkits.python_headers, "/usr"))
    if not minor:
        return skipped(subject_of(each), "which Python {path} has is not known", path=each.path)
    if any(".".join(v.split(".")[:2]) == minor for v in toolkits.python_headers):
        return passed(subject_of(each), "Python {minor} has its headers for Triton", minor=minor, evidence=seen)
    fix: tuple[Step, ...] = fitting(
        host,
        debian=step("Install the headers of that Python.", "sudo apt install python{minor}-dev", minor=minor),
        rhel=step("Install the headers of that Python.", "sudo dnf install python{minor}-devel", minor=minor),
        other=step("Install the development headers of Python {minor}.", minor=minor),
    )
    return warned(subject_of(each), "Triton in {path} compiles its launcher, and Python.h of Python {minor} was not "
                  "found", path=each.path, minor=minor, evidence=seen, fix=fix)
