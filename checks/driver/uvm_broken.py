"""NVML works, but CUDA cannot start: the unified memory module is broken, as after suspend.

## Why it matters
`nvidia-smi` shows healthy GPUs while every CUDA program ends with error 999 ("unknown error"), and engines fall back to
the CPU. The usual cause is a machine that was suspended and resumed: `nvidia_uvm` does not survive it by itself.

## How to fix
Stop what uses the GPUs and load `nvidia_uvm` anew. To keep it from coming back, let the driver save its memory at
suspend (`NVreg_PreserveVideoMemoryAllocations=1`), or do not suspend a server.

## References
- https://github.com/ollama/ollama/pull/3282
- https://github.com/ollama/ollama/issues/5035
- https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, need, passed, saw, skipped, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda import Cuda
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.judging.remedies import reboot

_CUDA_ERROR_UNKNOWN = 999


@check(deep=True)
def uvm_broken(cuda: Cuda, gpus: Gpus, host: Host | Unavailable) -> Iterator[Finding]:
    """Judge cuInit's code where NVML answers."""
    if gpus.error_code is not None or not gpus.answering:
        yield skipped("host", "no GPU answers through NVML, so this is not where the fault lies")
        return
    code = need(cuda.init_code)
    seen = (saw("cuInit", code, "libcuda.so.1"), saw("GPUs that answer", len(gpus.answering), "NVML"))
    if code == _CUDA_ERROR_UNKNOWN:
        yield failed(
            "host",
            "NVML shows {n} GPUs, but CUDA does not start (cuInit: {code})",
            n=len(gpus.answering), code=code, evidence=seen,
            fix=(
                step("Stop what uses the GPUs, then load the module anew.",
                     "sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm", risk="ends every program on the GPUs"),
                step("See whether a suspend came before.", "journalctl -b -k --grep 'PM: suspend'"),
                reboot(host),
            ),
        )
    else:
        yield passed("host", "cuInit does not fail with 999 (it returned {code})", code=code, evidence=seen)
