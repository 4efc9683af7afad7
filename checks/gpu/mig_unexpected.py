"""MIG is on without a use, or about to change.

## Why it matters
A GPU in MIG mode without instances gives programs no CUDA device. With instances each program sees only its slice, and
tensor parallel over several GPUs is not possible. A changed mode takes effect at the next reset.

## How to fix
Off: `sudo nvidia-smi -i N -mig 0`. On purpose: create instances, for example
`sudo nvidia-smi mig -i N -cgi 19,19 -C`.

## References
- https://docs.nvidia.com/datacenter/tesla/mig-user-guide/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, known, need, noted, passed, saw, step, warned
from gpudoctor.facts.gpus import Gpu
from gpudoctor.judging.remedies import reset_gpu

SOURCE = "nvmlDeviceGetMigMode"
TENSOR_PARALLEL = ("vllm", "sglang", "tgi")


@check()
def mig_unexpected(gpu: Gpu, target: Target) -> Iterator[Finding]:
    """MIG with instances is on purpose, unless one model is to span several GPUs."""
    mig = need(gpu.mig)
    instances = known(mig.instances)
    seen = (saw("MIG on now", mig.enabled, SOURCE), saw("MIG on after a reset", mig.pending, SOURCE),
            saw("GPU instances", instances, "nvmlDeviceGetGpuInstances"))
    off = step("Switch MIG off.", "sudo nvidia-smi -i {index} -mig 0", index=gpu.index, risk="needs an idle GPU")
    if mig.pending != mig.enabled:
        yield warned(gpu.subject, "{name}: MIG changes at the next reset of the GPU", name=gpu.label, evidence=seen,
                     fix=(reset_gpu(gpu.index), off))
    elif not mig.enabled:
        yield passed(gpu.subject, "MIG is off", evidence=seen)
    elif instances == 0:
        yield failed(
            gpu.subject, "{name}: MIG is on and there is no instance, so programs find no CUDA device", name=gpu.label,
            evidence=seen,
            fix=(off, step("Or see which instances can be made.", "sudo nvidia-smi mig -lgip -i {index}",
                           index=gpu.index)),
        )
    elif _spans(target):
        yield failed(gpu.subject, "{name}: MIG is on, so one model cannot span this GPU and others", name=gpu.label,
                     evidence=seen, fix=off)
    else:
        yield noted(gpu.subject, "{name}: MIG is on with {instances} instances; programs see a slice each",
                    name=gpu.label, instances=instances, evidence=seen)


def _spans(target: Target) -> bool:
    several = target.gpus is not None and len(target.gpus) > 1
    return several and (target.model is not None or any(e.name in TENSOR_PARALLEL for e in target.engines))
