"""No GPU is on the PCI bus, or fewer answer than the bus shows.

## Why it matters
Without a GPU every engine runs on the CPU, tens of times slower, and most say so only in their log. A GPU that
the bus shows and the driver does not has failed its initialisation; engines simply use the others.

## How to fix
Nothing on the bus: check that the card is seated and powered, that "Above 4G decoding" is on in the firmware, and,
in a virtual machine, that the GPU is passed through. On the bus but not answering: the kernel log says why
(`gpudoctor check --only gpu.xid --only driver.*`). A machine that is meant to have no GPU: `--expect-gpus 0`.

## References
- https://docs.kernel.org/PCI/sysfs-pci.html
- https://docs.nvidia.com/deploy/gpu-debug-guidelines/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.pci import Pci

SOURCE = "/sys/bus/pci/devices"


@check(gatekeeper_of="pci")
def no_gpu(pci: Pci | Unavailable, gpus: Gpus | Unavailable, target: Target) -> Iterator[Finding]:
    """Compare the GPUs on the bus with those that NVML lists."""
    if isinstance(pci, Unavailable):
        yield unknown("host", "the PCI bus could not be read: {reason}", reason=pci.reason)
        return
    on_bus = pci.nvidia_gpus
    seen = saw("NVIDIA / AMD GPUs on the bus", f"{len(on_bus)} / {len(pci.amd_gpus)}", SOURCE)
    if not on_bus and not pci.amd_gpus:
        if isinstance(gpus, Gpus) and gpus.gpus:
            yield passed("host", "{n} GPUs answer through NVML, though the PCI bus shows none here", n=len(gpus.gpus),
                         evidence=seen)
        elif not target.wants_gpu:
            yield skipped("host", "no GPU, as --expect-gpus 0 says", evidence=seen)
        else:
            yield failed(
                "host",
                "no NVIDIA or AMD GPU is on the PCI bus",
                evidence=seen,
                fix=(
                    step("Check that the card is seated and powered; in a virtual machine, that it is passed through."),
                    step("Look for it by hand.", "lspci -nn -d ::0300; lspci -nn -d ::0302; lspci -nn -d ::1200"),
                    step("If this machine is meant to have no GPU, say so.", "gpudoctor check --expect-gpus 0"),
                ),
            )
        return
    listed = len(gpus.gpus) if isinstance(gpus, Gpus) and gpus.error_code is None else None
    if on_bus and listed is not None and listed < len(on_bus):
        answering = {str(g.pci_address).lower() for g in gpus.gpus} if isinstance(gpus, Gpus) else set[str]()
        lost = tuple(d.address for d in on_bus if d.address.lower() not in answering)
        yield failed(
            "host",
            "the PCI bus shows {on_bus} NVIDIA GPUs, NVML lists {listed}: missing {lost}",
            on_bus=len(on_bus), listed=listed, lost=lost,
            evidence=(seen, saw("GPUs in NVML", listed, "nvmlDeviceGetCount_v2")),
            fix=(
                step("Read what the driver said about it.", "sudo dmesg | grep -E 'NVRM|Xid'"),
                step("Power the machine off and on; if the GPU stays away, reseat it, then have it replaced."),
            ),
        )
        return
    yield passed("host", "{nvidia} NVIDIA and {amd} AMD GPUs on the PCI bus", nvidia=len(on_bus),
                 amd=len(pci.amd_gpus), evidence=seen)
