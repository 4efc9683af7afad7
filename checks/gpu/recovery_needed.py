"""The driver itself says that the GPU needs a reset, a reboot or a pause.

## Why it matters
Drivers from 570 on keep a recovery action for every GPU. While it is not "none", the GPU works with known damage: new
programs fail to start, hang, or run on memory that is about to be taken away.

## How to fix
Do what the finding names: reset the GPU, reboot, or let running work drain first. If the action comes back after it,
the GPU is a case for replacement.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlFieldValueEnums.html
- https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, need, passed, saw, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu
from gpudoctor.facts.host import Host
from gpudoctor.judging.remedies import reboot, reset_gpu

RESETS, REBOOTS = (1, 6), (2, 7)
DRAIN_PEERS, DRAIN_AND_RESET, RECOVER_IMEX = 3, 4, 5


@check()
def recovery_needed(gpu: Gpu, host: Host | Unavailable) -> Iterator[Finding]:
    """Pass on what the driver asks for."""
    number, name = need(gpu.recovery_action), gpu.label
    seen = saw("recovery action", number, "NVML field 230")
    if number == 0:
        yield passed(gpu.subject, "the driver asks for no recovery", evidence=seen)
    elif number in RESETS:
        yield failed(gpu.subject, "{name}: the driver asks for a reset of the GPU", name=name, evidence=seen,
                     fix=reset_gpu(gpu.index))
    elif number in REBOOTS:
        yield failed(gpu.subject, "{name}: the driver asks for a reboot", name=name, evidence=seen, fix=reboot(host))
    elif number == DRAIN_PEERS:
        yield failed(
            gpu.subject,
            "{name}: the driver asks for an end of peer-to-peer traffic to this GPU",
            name=name,
            evidence=seen,
            fix=step("End the programs that use this GPU together with others, and start them without it."),
        )
    elif number == DRAIN_AND_RESET:
        yield failed(
            gpu.subject,
            "{name}: the driver asks for its work to end, then for a reset of the GPU",
            name=name,
            evidence=seen,
            fix=(step("Start nothing new on GPU {index} and let its work end.", index=gpu.index),
                 reset_gpu(gpu.index)),
        )
    elif number == RECOVER_IMEX:
        yield failed(
            gpu.subject,
            "{name}: the driver asks for a recovery of the IMEX domain",
            name=name,
            evidence=seen,
            fix=step("Restart the IMEX service on every node of the domain.", "sudo systemctl restart nvidia-imex",
                     risk="ends multi-node NVLink jobs"),
        )
    else:
        yield warned(
            gpu.subject,
            "{name}: the driver asks for recovery action {number}, which this gpudoctor does not know",
            name=name,
            number=number,
            evidence=seen,
            fix=step("See what nvidia-smi calls it.", "nvidia-smi -q -i {index}", index=gpu.index),
        )
