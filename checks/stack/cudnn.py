"""A second cuDNN comes before the one that PyTorch brings, or cuDNN is missing or has dropped this GPU.

## Why it matters
PyTorch's wheels bring cuDNN and need no system copy; a copy in `LD_LIBRARY_PATH` or conda that comes first is loaded
instead, and the parts of two versions do not work together ("cuDNN version incompatibility", CUDNN_STATUS_NOT_
INITIALIZED). From 9.17 at the latest cuDNN has no code for GPUs before Turing.

## How to fix
Take the folder out of `LD_LIBRARY_PATH`; install the cuDNN that PyTorch pins.

## References
- https://docs.nvidia.com/deeplearning/cudnn/backend/latest/reference/support-matrix.html
- https://pypi.org/project/nvidia-cudnn-cu12/
- https://docs.nvidia.com/deeplearning/cudnn/installation/latest/linux.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda_libraries import CudaLibrary, LoaderChoice
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs
from gpudoctor.facts.toolkits import Toolkits
from gpudoctor.judging.builds import environments, subject_of
from gpudoctor.judging.cuda_fit import Machinery, machinery
from gpudoctor.matrices import cudnn as matrix

_TURING = (7, 5)


@check()
def cudnn(
    python_envs: PythonEnvs,
    toolkits: Toolkits | Unavailable,
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Compare the cuDNN that would be loaded with the one that each environment brings."""
    here = machinery(gpus, driver, pci, host, target)
    judged = False
    for each in environments(python_envs, target):
        choices = tuple(c for c in each.loads if c.soname.startswith("libcudnn"))
        if choices:
            judged = True
            yield _judge(each, choices, toolkits, here)
    if not judged:
        system = () if isinstance(toolkits, Unavailable) else toolkits.copies("libcudnn")
        yield skipped("host", "nothing found here loads cuDNN; system copies: {count}", count=len(system))


def _judge(
    each: PythonEnvironment, choices: tuple[LoaderChoice, ...], toolkits: Toolkits | Unavailable, here: Machinery
) -> Finding:
    subject = subject_of(each)
    known = (*each.libraries, *(() if isinstance(toolkits, Unavailable) else toolkits.copies("libcudnn")),
             *(() if isinstance(toolkits, Unavailable) else
               (lib for folder in toolkits.library_path for lib in folder.libraries)))
    shadowed = next((c for c in choices if c.shadowed), None)
    if shadowed is not None:
        taken, own = _version(known, shadowed.path), _version(known, shadowed.bundled)
        both = (saw("cuDNN that would be loaded", shadowed.path, shadowed.via), saw("its version", taken, "file"),
                saw("cuDNN of the environment", shadowed.bundled, each.path), saw("its version", own, "file"))
        if taken is not None and taken == own:
            return passed(subject, "another copy of the same cuDNN {version} would be loaded", version=taken,
                          evidence=both)
        return warned(subject, "{path} ({taken}) would be loaded before the cuDNN {own} that PyTorch brings",
                      path=shadowed.path, taken=taken or "version not told", own=own or "", evidence=both, fix=step(
                          "Take that folder out of the loader's path, for this shell:", "unset LD_LIBRARY_PATH"))
    missing = next((c for c in choices if c.via == "missing"), None)
    if missing is not None:
        return failed(subject, "{soname} is nowhere, and {user} in {path} loads it", soname=missing.soname,
                      user=missing.wanted_by, path=each.path, evidence=saw("not found", missing.soname, each.path),
                      fix=step("Reinstall PyTorch with the cuDNN it pins; a system package is not needed.",
                               "pip install --force-reinstall torch"))
    version = next((v for c in choices if (v := _version(known, c.path)) is not None), None)
    seen = (saw("cuDNN that would be loaded", choices[0].path, choices[0].via), saw("its version", version, "file"))
    old = here.lowest is not None and here.lowest < _TURING
    if old and version is not None and _drops(version):
        return failed(subject, "cuDNN {version} in {path} has no code for GPUs before Turing", version=version,
                      path=each.path, evidence=seen,
                      fix=step("Put back the last one that has.", "pip install nvidia-cudnn-cu12=={last}.*",
                               last=matrix.table().volta.last_with))
    return passed(subject, "{path} loads the cuDNN it brings", path=each.path, evidence=seen)


def _drops(version: str) -> bool:
    try:
        return matrix.runs_before_turing(version) is False
    except ValueError:
        return False


def _version(libraries: tuple[CudaLibrary, ...], path: str | None) -> str | None:
    return next((lib.version for lib in libraries if lib.path == path), None)
