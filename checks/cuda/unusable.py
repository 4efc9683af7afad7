"""CUDA does not work: it cannot start, or a GPU cannot allocate, write and read back memory.

## Why it matters
NVML and `nvidia-smi` only talk to the driver. An engine needs more: the CUDA library must start, get memory on the
GPU, and find there what it wrote. A machine can look healthy in every list and still fail at exactly that, and a GPU
that returns other bytes than it was given gives wrong answers without any error.

## How to fix
The code says which: 100 and 101, no GPU is left after `CUDA_VISIBLE_DEVICES`, MIG or a container's limits. 46, another
program holds the GPU, or its compute mode forbids. 802, the NVSwitch fabric is not ready: start the fabric manager of
exactly the driver's version. 803, the CUDA library and the loaded driver are of different versions: reboot, or remove
a compatibility library from the path. 804, a compatibility library on a GPU that does not support it. 999, reload
`nvidia_uvm`. Wrong bytes: take the GPU out of use.

## References
- https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html
- https://docs.nvidia.com/deploy/cuda-compatibility/index.html
- https://docs.nvidia.com/deploy/gpu-debug-guidelines/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, Step, Target, check, failed, passed, saw, skipped, step, unknown
from gpudoctor.checking.needs import known
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda import Cuda, CudaGpu
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.remedies import reset_gpu

_NOT_ENDED = ("not reached", "ran out of time")
#: What says nothing about the GPU: another program may have taken its memory.
_OUT_OF_MEMORY = 2

_ENVIRONMENT = step("See what hides the GPUs: MIG without instances, or a container that was given none.",
                    "nvidia-smi -L")
_COMPATIBILITY = step(
    "See which CUDA library is loaded first; a compatibility library (cuda-compat) must not be older than the driver "
    "and works on data-centre GPUs only.",
    "ldconfig -p | grep libcuda.so.1; echo $LD_LIBRARY_PATH",
)
_WAYS_OUT: dict[int, Step] = {
    46: step("Another program holds the GPU, or its compute mode forbids this one.",
             "nvidia-smi --query-gpu=index,compute_mode --format=csv"),
    100: _ENVIRONMENT,
    101: _ENVIRONMENT,
    802: step("Start the fabric manager of exactly the driver's version.",
              "sudo systemctl enable --now nvidia-fabricmanager"),
    803: _COMPATIBILITY,
    804: _COMPATIBILITY,
    999: step("Stop what uses the GPUs, then load the module anew.",
              "sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm", risk="ends every program on the GPUs"),
}
_LOG = step("Read what the driver said.", "sudo dmesg | grep -E 'NVRM|Xid'")


@check(gatekeeper_of="cuda", deep=True)
def unusable(
    cuda: Cuda | Unavailable, gpus: Gpus | Unavailable, pci: Pci | Unavailable, host: Host | Unavailable, target: Target
) -> Iterator[Finding]:
    """Judge the start of CUDA, then what each GPU did with its memory."""
    if isinstance(cuda, Unavailable):
        if cuda.kind == "not-asked":
            yield skipped("host", "asked for with --deep")
        elif cuda.harmless:
            yield skipped("host", "nothing to judge: {reason}", reason=cuda.reason)
        else:
            yield unknown("host", "CUDA could not be tested: {reason}", reason=cuda.reason,
                          fix=step("Give it more time.", "gpudoctor check --deep --timeout 300"))
        return
    if _no_nvidia_gpu(gpus, pci, host):
        yield skipped("host", "no NVIDIA GPU on the PCI bus")
        return
    start = _start(cuda)
    yield start
    for gpu in cuda.gpus:
        if target.chosen(gpu.index) and not (start.status == "fail" and gpu.code == cuda.init_code):
            yield _judge(gpu)


def _no_nvidia_gpu(gpus: Gpus | Unavailable, pci: Pci | Unavailable, host: Host | Unavailable) -> bool:
    if isinstance(gpus, Gpus) and gpus.gpus:
        return False
    wsl = isinstance(host, Host) and host.wsl
    return isinstance(pci, Pci) and not pci.nvidia_gpus and not wsl


def _start(cuda: Cuda) -> Finding:
    version = known(cuda.driver_version)
    seen = [saw("CUDA of the driver", version, "cuDriverGetVersion")]
    code = cuda.init_code
    if isinstance(code, Unavailable):
        seen.append(saw("cuInit", code.reason, "libcuda.so.1"))
        if code.kind == "not-applicable":
            return failed(
                "host", "CUDA cannot be used: {reason}", reason=code.reason, evidence=seen,
                fix=step("Install the CUDA part of the driver (libcuda.so.1); in a container, let the container "
                         "toolkit bring it: NVIDIA_DRIVER_CAPABILITIES must name compute."),
            )
        if code.kind in ("timeout", "crashed"):
            return failed("host", "CUDA does not start: {reason}", reason=code.reason, evidence=seen, fix=_LOG)
        return unknown("host", "whether CUDA starts is not known: {reason}", reason=code.reason, evidence=seen)
    seen.append(saw("cuInit", code, "libcuda.so.1"))
    if code != 0:
        return failed("host", "CUDA does not start: {error} (code {code})", error=cuda.init_error, code=code,
                      evidence=seen, fix=(_WAYS_OUT.get(code, _LOG),))
    if cuda.init_error is not None:
        return failed("host", "CUDA starts, but does not list its GPUs: {error}", error=cuda.init_error,
                      evidence=seen, fix=_LOG)
    return passed("host", "CUDA starts", evidence=seen)


def _judge(gpu: CudaGpu) -> Finding:
    subject = f"gpu:{gpu.index}"
    seen = _seen(gpu)
    if gpu.refused is not None:
        return skipped(subject, "not tested, because {reason} (--use-busy tests it all the same)",
                       reason=gpu.refused, evidence=seen)
    if gpu.failure is not None and gpu.failure.startswith(_NOT_ENDED):
        return unknown(subject, "GPU {index} was not tested to the end: {failure}", index=gpu.index,
                       failure=gpu.failure, evidence=seen,
                       fix=step("Give it more time.", "gpudoctor check --deep --timeout 300"))
    if gpu.failure is not None:
        return failed(subject, "GPU {index} hung or crashed under CUDA: {failure}", index=gpu.index,
                      failure=gpu.failure, evidence=seen, fix=(_LOG, reset_gpu(gpu.index)))
    if gpu.mismatches:
        return failed(
            subject, "GPU {index} returned {wrong} wrong bytes of {total}", index=gpu.index, wrong=gpu.mismatches,
            total=gpu.copied_bytes, evidence=seen,
            fix=(step("Use this GPU for nothing until it is sound."), reset_gpu(gpu.index),
                 step("If it happens again, have it replaced.")),
        )
    if gpu.ok:
        return passed(subject, "memory on the GPU was set, written, copied and read back without an error",
                      evidence=seen)
    if gpu.code == _OUT_OF_MEMORY:
        return unknown(subject, "GPU {index} has too little free memory for the test ({step})", index=gpu.index,
                       step=gpu.step, evidence=seen, fix=step("See what fills it.", "nvidia-smi"))
    return failed(
        subject, "CUDA fails on GPU {index} at {step}: {error} (code {code})", index=gpu.index, step=gpu.step,
        error=gpu.error, code=gpu.code, evidence=seen,
        fix=(_WAYS_OUT.get(gpu.code, _LOG) if gpu.code is not None else _LOG,),
    )


def _seen(gpu: CudaGpu) -> tuple[Evidence, ...]:
    return (
        saw("call that failed", gpu.step, "libcuda.so.1"),
        saw("its code", gpu.code, "libcuda.so.1"),
        saw("bytes written and read back", gpu.copied_bytes, "deep probe"),
        saw("of them wrong", gpu.mismatches, "deep probe"),
    )
