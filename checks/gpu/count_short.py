"""Fewer GPUs answer than this machine is expected to have.

## Why it matters
A GPU that is gone makes no noise: engines use the others, slower, or refuse a tensor parallel size that worked
yesterday.

## How to fix
Look for the missing one: on the bus (`lspci -d 10de:`), then in the kernel log. Power off and on, reseat, replace. If
the number itself was wrong, correct `--expect-gpus`.

## References
- https://docs.nvidia.com/deploy/gpu-debug-guidelines/index.html
- https://github.com/leptonai/gpud
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.pci import Pci

SOURCE = "nvmlDeviceGetCount_v2"


@check()
def count_short(
    gpus: Gpus, pci: Pci | Unavailable, kernel_log: KernelLog | Unavailable, target: Target
) -> Iterator[Finding]:
    """Compare the GPUs that answer with --expect-gpus; before the driver is installed, those on the bus."""
    have, want = len(gpus.answering), target.expect_gpus
    on_bus = len(pci.nvidia_gpus) if isinstance(pci, Pci) else None
    seen = (saw("GPUs that answer", have, SOURCE), saw("NVIDIA GPUs on the bus", on_bus, "/sys/bus/pci/devices"))
    if target.installing and gpus.error_code is not None and on_bus is not None and (want or 0) <= on_bus:
        yield skipped("host", "no driver answers yet; the bus shows {on_bus} NVIDIA GPUs", on_bus=on_bus, evidence=seen)
    elif want is None:
        yield skipped("host", "{have} GPUs answer; how many there should be was not said (--expect-gpus N)", have=have,
                      evidence=seen)
    elif have < want:
        events = kernel_log.of("xid", "fell-off-bus") if isinstance(kernel_log, KernelLog) else ()
        lost = tuple(dict.fromkeys(e.address for e in events if e.code == 79 and e.address is not None))
        yield failed(
            "host",
            "{have} GPUs answer, {want} are expected",
            have=have, want=want,
            evidence=(*seen, saw("fell off the bus in this boot", lost, "kernel log")),
            fix=(
                step("See which GPU is missing on the bus.", "lspci -nn -d 10de:"),
                step("Read what the driver said about it.", "sudo dmesg | grep -E 'NVRM|Xid'"),
            ),
        )
    elif have > want:
        yield warned(
            "host",
            "{have} GPUs answer, only {want} are expected",
            have=have, want=want,
            evidence=seen,
            fix=step("Correct the expected number, or choose the GPUs to use with --gpus."),
        )
    else:
        yield passed("host", "{have} GPUs answer, as expected", have=have, evidence=seen)
