"""The firmware gave the GPU no room for its memory window, so the driver cannot start it.

## Why it matters
A data-centre GPU maps tens of gigabytes above the 4 GiB limit. Where the firmware keeps "Above 4G decoding" off, or a
virtual machine's window for 64-bit devices is too small, the window (BAR1) stays unassigned, the driver says
"RmInitAdapter failed" and "BAR1 is 0M", and that GPU is missing.

## How to fix
Turn on "Above 4G decoding" (and "Resizable BAR") in the firmware; in a virtual machine enlarge the 64-bit MMIO window.
Where the firmware has no such setting, the boot option `pci=realloc` lets the kernel place the windows anew.

## References
- https://github.com/NVIDIA/open-gpu-kernel-modules/blob/main/kernel-open/nvidia/nv-pci.c
- https://docs.kernel.org/admin-guide/kernel-parameters.html
- https://docs.nvidia.com/deploy/gpu-debug-guidelines/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, known, need, passed, saw, skipped, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import answering, is_at, need_nvidia
from gpudoctor.judging.remedies import boot_option


@check()
def bar_too_small(
    kernel_log: KernelLog | Unavailable,
    driver: Driver,
    pci: Pci | Unavailable,
    gpus: Gpus | Unavailable,
    host: Host | Unavailable,
) -> Iterator[Finding]:
    """Fail for a GPU that does not answer and whose region stayed unassigned in this boot."""
    devices = need_nvidia(pci)
    works = answering(gpus)
    silent = [d for d in devices if d.address not in works]
    sizes = saw("memory regions in bytes", tuple(f"{d.address} {max(d.bar_bytes, default=0)}" for d in devices),
                "/sys/bus/pci/devices/*/resource")
    if not silent:
        yield passed("host", "every NVIDIA GPU answers, so each has its memory window", evidence=sizes)
        return
    if known(driver.loaded_version) is None and isinstance(kernel_log, Unavailable):
        yield skipped("host", "no driver is loaded that would use the memory windows", evidence=sizes)
        return
    log = need(kernel_log)
    unassigned = log.of("bar-unassigned")
    lost = [d for d in silent if any(e.address is None or is_at(e.address, (d,)) for e in unassigned)]
    failures = [e for e in log.of("rm-init-failed") if is_at(e.address, lost)]
    if lost and unassigned:
        yield failed(
            "host",
            "the firmware left no room for the memory of {gpus}",
            gpus=tuple(d.address for d in lost),
            evidence=(sizes, *(saw("kernel log", e.text, log.source) for e in (*unassigned[:2], *failures[:2]))),
            fix=(
                step("Turn on Above 4G decoding and Resizable BAR in the firmware's setup."),
                step("In a virtual machine, enlarge its 64-bit MMIO window (OVMF: X-PciMmio64Mb)."),
                *boot_option(host, "pci=realloc"),
            ),
        )
    elif known(driver.loaded_version) is None:
        yield skipped("host", "no driver is loaded that would use the memory windows, and the kernel log names none "
                      "unassigned", evidence=sizes)
    else:
        yield passed("host", "the kernel log names no memory window left unassigned", evidence=sizes)
