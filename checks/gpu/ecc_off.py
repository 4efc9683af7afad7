"""ECC is off on a data-centre GPU, or changes at the next reset.

## Why it matters
Without ECC a flipped bit in weights or KV cache goes unnoticed: wrong answers instead of an error. A pending change
takes effect at the next reset or reboot, and on cards with GDDR memory it then changes how much memory there is.

## How to fix
`sudo nvidia-smi -i N -e 1`, then reset the GPU or reboot. On GDDR cards (A10, A40, L4, L40S, T4) ECC takes about a
sixteenth of the memory: run `gpudoctor fit` again.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
- https://docs.nvidia.com/deploy/nvidia-smi/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, need, passed, saw, skipped, step, warned
from gpudoctor.facts.gpus import Gpu
from gpudoctor.judging.cards import card
from gpudoctor.judging.remedies import reset_gpu

SOURCE = "nvmlDeviceGetEccMode"


@check()
def ecc_off(gpu: Gpu) -> Iterator[Finding]:
    """Judge the mode of data-centre cards; workstation cards and GeForce are delivered without."""
    ecc = need(gpu.ecc)
    enabled, pending = need(ecc.enabled), known(ecc.pending)
    seen = saw("ECC now / after a reset", f"{_word(enabled)} / {_word(pending)}", SOURCE)
    product = card(gpu)
    if pending is not None and pending != enabled:
        yield warned(
            gpu.subject,
            "{name}: ECC is {now} and will be {later} after the next reset",
            name=gpu.label,
            now=_word(enabled),
            later=_word(pending),
            evidence=seen,
            fix=(reset_gpu(gpu.index),
                 step("Or take the change back.", "sudo nvidia-smi -i {index} -e {mode}", index=gpu.index,
                      mode=int(enabled))),
        )
    elif enabled:
        yield passed(gpu.subject, "ECC is on", evidence=seen)
    elif product is not None and product.kind == "datacenter":
        yield warned(
            gpu.subject,
            "{name}: ECC is off on a data-centre GPU",
            name=gpu.label,
            evidence=seen,
            fix=(step("Switch it on; it takes effect after a reset.", "sudo nvidia-smi -i {index} -e 1",
                      index=gpu.index),
                 reset_gpu(gpu.index)),
        )
    elif product is not None and product.kind == "workstation":
        yield passed(gpu.subject, "ECC is off, as workstation cards allow", evidence=seen)
    else:
        yield skipped(gpu.subject, "ECC is not judged on this kind of GPU", evidence=seen)


def _word(on: bool | None) -> str:
    return "unknown" if on is None else "on" if on else "off"
