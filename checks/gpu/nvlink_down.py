"""NVLinks are down that are up on the GPU's neighbours.

## Why it matters
Tensor-parallel traffic takes PCIe, or a part of its bandwidth is missing, without any message. On SXM boards all links
of all GPUs come up together; on PCIe cards only those under a bridge do, and fewer than the chip's maximum is normal.

## How to fix
Reset the GPU; on NVSwitch boards check the fabric manager first; on PCIe cards reseat the bridge.

## References
- https://github.com/NVIDIA/NVSentinel/issues/1481
- https://docs.nvidia.com/deploy/nvml-api/group__NvLink.html
"""

from collections.abc import Iterator

from gpudoctor.checking import (
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
    unknown,
    warned,
)
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.judging.cards import active_links, link_form
from gpudoctor.judging.remedies import reset_gpu

SOURCE = "nvmlDeviceGetNvLinkState"


@check()
def nvlink_down(gpus: Gpus, target: Target) -> Iterator[Finding]:
    """Compare each GPU with those of its own kind: nobody knows better how many links this board has."""
    if not gpus.answering:
        yield skipped("host", "no NVIDIA GPU answers through NVML")
    for gpu in gpus.answering:
        yield _judge(gpu, gpus, target)


def _judge(gpu: Gpu, gpus: Gpus, target: Target) -> Finding:
    if isinstance(gpu.nvlinks, Unavailable):
        if gpu.nvlinks.harmless:
            return skipped(gpu.subject, "nothing to judge: {reason}", reason=gpu.nvlinks.reason)
        return unknown(gpu.subject, "could not be read: {reason}", reason=gpu.nvlinks.reason)
    up, lanes = active_links(gpu) or 0, len(gpu.nvlinks)
    kind = [active_links(other) or 0 for other in gpus.answering
            if other.label == gpu.label and not isinstance(other.nvlinks, Unavailable)]
    most, alone, form = max(kind), len(kind) == 1, link_form(gpu)
    mig = known(gpu.mig)
    seen = (saw("links up / in all", f"{up} / {lanes}", SOURCE), saw("most on a GPU of this kind here", most, SOURCE))
    if lanes == 0 or (mig is not None and mig.enabled and up < most):
        return skipped(gpu.subject, "NVLink is not judged: the GPU has none, or runs under MIG", evidence=seen)
    if up == most and up > 0:
        return passed(gpu.subject, "{up} of {lanes} NVLinks are up, as on its neighbours", up=up, lanes=lanes,
                      evidence=seen)
    if up == 0 and (form in ("bridge", "c2c", "c2c+nvlink", "none") or (most == 0 and (alone or form is None))):
        return noted(gpu.subject, "{name}: no NVLink is up: no bridge is fitted, or no other GPU is linked",
                     name=gpu.label, evidence=seen)
    fix: tuple[Step, ...] = (
        step("See the state of every link.", "nvidia-smi nvlink --status -i {index}", index=gpu.index),
        step("On PCIe cards reseat the bridge; on NVSwitch boards see that the fabric manager runs."),
        reset_gpu(gpu.index),
    )
    if not target.chosen(gpu.index) or form is None:
        return warned(gpu.subject, "{name}: {up} NVLinks are up, its neighbours have {most}", name=gpu.label, up=up,
                      most=most, evidence=seen, fix=fix)
    if up == most:
        return failed(gpu.subject, "{name}: none of its {lanes} NVLinks is up, on a board that links all GPUs",
                      name=gpu.label, lanes=lanes, evidence=seen, fix=fix)
    return failed(gpu.subject, "{name}: {up} NVLinks are up, its neighbours have {most}", name=gpu.label, up=up,
                  most=most, evidence=seen, fix=fix)
