"""The GPU's compute mode keeps programs out.

## Why it matters
In mode "prohibited" no program gets a CUDA context. In "exclusive process" only one does: a second engine, or an engine
with one process more than expected, fails with "all CUDA-capable devices are busy or unavailable".

## How to fix
`sudo nvidia-smi -i N -c 0` sets the default mode until the next reboot. Look for what sets it at boot.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html
- https://docs.nvidia.com/deploy/nvidia-smi/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, need, passed, saw, step, warned
from gpudoctor.facts.gpus import Gpu

SOURCE = "nvmlDeviceGetComputeMode"


@check()
def compute_mode(gpu: Gpu) -> Iterator[Finding]:
    """Prohibited stops everything, exclusive stops the second."""
    mode = need(gpu.compute_mode)
    seen = saw("compute mode", mode, SOURCE)
    fix = step("Set the default mode.", "sudo nvidia-smi -i {index} -c 0", index=gpu.index)
    if mode == "prohibited":
        yield failed(gpu.subject, "{name}: compute mode is prohibited, no program may compute", name=gpu.label,
                     evidence=seen, fix=fix)
    elif mode.startswith("exclusive"):
        yield warned(gpu.subject, "{name}: compute mode is {mode}, only one program may compute", name=gpu.label,
                     mode=mode, evidence=seen, fix=fix)
    else:
        yield passed(gpu.subject, "compute mode is {mode}", mode=mode, evidence=seen)
