"""`LD_LIBRARY_PATH` or conda puts another CUDA library before the one that a wheel brings.

## Why it matters
PyTorch then runs with a cuBLAS, NCCL or nvJitLink it was not built with: "undefined symbol: __nvJitLinkComplete_12_4",
wrong results or crashes, in one shell and not in the next. The usual cause is a line in ~/.bashrc that many guides ask
for, `export LD_LIBRARY_PATH=/usr/local/cuda/lib64`; wheels do not need it.

## How to fix
Take the folder out of `LD_LIBRARY_PATH`, or start the engine without the variable.

## References
- https://github.com/pytorch/pytorch/issues/111469
- https://github.com/vllm-project/vllm/issues/8420
- https://man7.org/linux/man-pages/man8/ld.so.8.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda_libraries import CudaLibrary
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs
from gpudoctor.facts.toolkits import Toolkits
from gpudoctor.judging.builds import environments, subject_of


@check()
def library_shadowed(python_envs: PythonEnvs, toolkits: Toolkits | Unavailable, target: Target) -> Iterator[Finding]:
    """Find libraries of which another copy than the environment's own would be loaded."""
    judged = False
    for each in environments(python_envs, target):
        if each.loads:
            judged = True
            yield _judge(each, toolkits)
    if not judged:
        yield skipped("host", "no environment whose libraries were looked at")


def _judge(each: PythonEnvironment, toolkits: Toolkits | Unavailable) -> Finding:
    # cuDNN is stack.cudnn's matter.
    shadowed = [c for c in each.loads if c.shadowed and not c.soname.startswith("libcudnn")]
    known: list[CudaLibrary] = [*each.libraries]
    if isinstance(toolkits, Toolkits):
        known += [lib for folder in toolkits.library_path for lib in folder.libraries]
        known += [] if isinstance(toolkits.libraries, Unavailable) else toolkits.libraries
    versions = {lib.path: lib.version for lib in known}
    differing = [c for c in shadowed
                 if (v := versions.get(c.path or "")) is None or v != versions.get(c.bundled or "")]
    if not differing:
        return passed(subject_of(each), "nothing comes before the CUDA libraries that {path} brings", path=each.path,
                      evidence=saw("libraries looked at", len(each.loads), each.path))
    first = differing[0]
    names = tuple(dict.fromkeys(c.soname for c in differing))
    seen = (saw("would be loaded", first.path, first.via), saw("its version", versions.get(first.path or ""), "file"),
            saw("brought along", first.bundled, each.path),
            saw("its version", versions.get(first.bundled or ""), "file"))
    return warned(subject_of(each), "{libraries} would be loaded from {folder}, not from {path}, which brings its own",
                  libraries=names, folder=(first.path or "").rpartition("/")[0], path=each.path, evidence=seen,
                  fix=(step("Start without that folder, for this shell:", "unset LD_LIBRARY_PATH")
                       if first.via == "ld-library-path" else
                       step("Start the engine from an environment without the other copy."),))
