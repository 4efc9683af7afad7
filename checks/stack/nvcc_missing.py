"""No CUDA compiler, where something here compiles CUDA code at run time, or one that is only off PATH.

## Why it matters
`nvidia-smi` works and `nvcc` is not found: that is no fault by itself. The "CUDA Version" of `nvidia-smi` is the newest
CUDA that the driver runs, not an installed toolkit, and wheels and images of PyTorch, vLLM and Ollama bring the CUDA
libraries they need. A compiler is needed where CUDA code is compiled here: FlashInfer without its compiled kernels,
which SGLang uses by default, and builds from source.

## How to fix
Put the toolkit's bin folder on PATH when it is there; else install FlashInfer's compiled kernels or a toolkit of the
CUDA major version that PyTorch was built with.

## References
- https://docs.nvidia.com/cuda/cuda-installation-guide-linux/
- https://docs.flashinfer.ai/installation.html
- https://docs.vllm.ai/en/stable/getting_started/installation/gpu.html
"""

from collections.abc import Iterator

from gpudoctor.checking import (
    Evidence,
    Finding,
    Step,
    Target,
    check,
    failed,
    known,
    noted,
    passed,
    saw,
    skipped,
    step,
    warned,
)
from gpudoctor.checking import unknown as not_known
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs, TorchBuild
from gpudoctor.facts.toolkits import Toolkits
from gpudoctor.judging.builds import environments
from gpudoctor.judging.compilation import compiles


@check(gatekeeper_of="toolkits")
def nvcc_missing(
    toolkits: Toolkits | Unavailable,
    python_envs: PythonEnvs | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Look for nvcc on PATH, under /usr/local and in environments, and for what would need it."""
    if isinstance(toolkits, Unavailable):
        if toolkits.harmless:
            yield skipped("host", "no toolkits to judge: {reason}", reason=toolkits.reason)
        else:
            yield not_known("host", "toolkits could not be read: {reason}", reason=toolkits.reason)
        return
    needing = tuple((e, why) for e in environments(python_envs, target) if (why := compiles(e)) and e.nvcc is None)
    on_path = known(toolkits.nvcc_on_path)
    off_path = next((t.nvcc for t in toolkits.toolkits if t.nvcc is not None), None)
    seen = (saw("nvcc on PATH", on_path, "PATH"), saw("nvcc elsewhere", off_path, "/usr/local, /opt, CUDA_HOME"),
            saw("toolkits", tuple(t.path for t in toolkits.toolkits), "/usr/local, /opt"))
    if on_path is not None:
        yield passed("host", "nvcc is on PATH: {path}", path=on_path, evidence=seen)
    elif off_path is not None:
        yield _off_path(off_path, bool(needing), seen)
    elif needing:
        for each, why in needing:
            yield _absent(each, why, seen, host)
    elif not isinstance(pci, Unavailable) and not pci.nvidia_gpus:
        yield skipped("host", "no NVIDIA GPU to compile for")
    else:
        yield noted("host", "no CUDA toolkit (nvcc) is installed, and nothing found here needs one: the CUDA version "
                    "that nvidia-smi shows is what the driver can run, and wheels and images bring their own libraries",
                    evidence=seen)


def _off_path(nvcc: str, needed: bool, seen: tuple[Evidence, ...]) -> Finding:
    folder = nvcc.rpartition("/")[0]
    fix = step("Put it on PATH, in ~/.profile for good.", "export PATH={folder}:$PATH", folder=folder)
    if needed:
        return warned("host", "nvcc is installed at {nvcc} and not on PATH, and an engine here compiles CUDA code",
                      nvcc=nvcc, folder=folder, evidence=seen, fix=fix)
    return noted("host", "nvcc is installed at {nvcc}, only PATH lacks it; nothing found here needs it", nvcc=nvcc,
                 folder=folder, evidence=seen, fix=fix)


def _absent(each: PythonEnvironment, why: str, seen: tuple[Evidence, ...], host: Host | Unavailable) -> Finding:
    subject = f"env:{each.path}"
    fix = _ways(each, why)
    if why == "flashinfer" and each.package("sglang") is not None:
        return failed(subject, "SGLang in {path} compiles FlashInfer's kernels at the first request, and there is no "
                      "nvcc", path=each.path, evidence=seen, fix=fix)
    if why == "flashinfer":
        return noted(subject, "FlashInfer in {path} has no compiled kernels and there is no nvcc: the engine leaves it "
                     "aside and takes another attention kernel", path=each.path, evidence=seen, fix=fix)
    return warned(subject, "{package} in {path} is installed from source, and there is no nvcc to build it again",
                  package=why, path=each.path, evidence=seen, fix=fix)


def _ways(each: PythonEnvironment, why: str) -> tuple[Step, ...]:
    build = each.torch if isinstance(each.torch, TorchBuild) else None
    cuda = build.cuda if build is not None and isinstance(build.cuda, str) else None
    flashinfer = each.package("flashinfer-python")
    found: list[Step] = []
    if why == "flashinfer" and flashinfer is not None and flashinfer.version and cuda:
        found.append(step("Install FlashInfer's compiled kernels for CUDA {cuda}.",
                          "pip install flashinfer-jit-cache=={version} --index-url https://flashinfer.ai/whl/{channel}",
                          version=flashinfer.version, channel=f"cu{cuda.replace('.', '')}", cuda=cuda))
    found.append(step("Or install a toolkit of CUDA {cuda}: only its major version must be PyTorch's.", cuda=cuda or
                      "the driver's version"))
    return tuple(found)
