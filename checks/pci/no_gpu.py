"""No GPU is on the PCI bus, or fewer answer than the bus shows.

## Why it matters
Without a GPU every engine runs on the CPU, tens of times slower, and most say so only in their log. A GPU that
the bus shows and the driver does not has failed its initialisation; engines simply use the others.

## How to fix
Nothing on the bus: check that the card is seated and powered, that "Above 4G decoding" is on in the firmware, and,
in a virtual machine, that the GPU is passed through. On the bus but not answering: the kernel log says why
(`gpudoctor check --only gpu.xid --only 'driver.*'`). A machine that is meant to have no GPU: `--expect-gpus 0`.

## References
- https://docs.kernel.org/PCI/sysfs-pci.html
- https://docs.nvidia.com/deploy/gpu-debug-guidelines/index.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import closed_gate, own_nvidia, plain_address

SOURCE = "/sys/bus/pci/devices"


@check(gatekeeper_of="pci")
def no_gpu(
    pci: Pci | Unavailable, gpus: Gpus | Unavailable, host: Host | Unavailable, target: Target
) -> Iterator[Finding]:
    """Compare the GPUs on the bus with those that NVML lists."""
    if isinstance(pci, Unavailable):
        yield closed_gate("the PCI bus", pci)
        return
    if not pci.nvidia_gpus and not pci.amd_gpus:
        yield from _none_on_bus(pci, gpus, host, target)
        return
    # What is handed on to virtual machines is not this system's to use.
    ours = own_nvidia(pci)
    seen = saw("NVIDIA / AMD GPUs on the bus", f"{len(pci.nvidia_gpus)} / {len(pci.amd_gpus)}", SOURCE)
    lists = isinstance(gpus, Gpus) and gpus.error_code is None
    listed = {plain_address(g.pci_address) for g in gpus.gpus} if isinstance(gpus, Gpus) else set[str]()
    # A container sees the whole bus and is given some of the GPUs.
    in_container = isinstance(host, Host) and host.container is not None
    if isinstance(gpus, Gpus) and lists and len(gpus.gpus) < len(ours) and not in_container:
        evidence = (seen, saw("GPUs in NVML", len(gpus.gpus), "nvmlDeviceGetCount_v2"))
        fix = (
            step("Read what the driver said about it.", "sudo dmesg | grep -E 'NVRM|Xid'"),
            step("Power the machine off and on; if the GPU stays away, reseat it, then have it replaced."),
        )
        # A listing without addresses does not tell which one is missing.
        if all(isinstance(each.pci_address, str) for each in gpus.gpus):
            yield failed(
                "host", "the PCI bus shows {on_bus} NVIDIA GPUs, NVML lists {listed}: missing {lost}",
                on_bus=len(ours), listed=len(gpus.gpus),
                lost=tuple(d.address for d in ours if d.address.lower() not in listed), evidence=evidence, fix=fix,
            )
        else:
            yield failed("host", "the PCI bus shows {on_bus} NVIDIA GPUs, only {listed} are listed",
                         on_bus=len(ours), listed=len(gpus.gpus), evidence=evidence, fix=fix)
        return
    yield passed("host", "{nvidia} NVIDIA and {amd} AMD GPUs on the PCI bus", nvidia=len(pci.nvidia_gpus),
                 amd=len(pci.amd_gpus), evidence=seen)


def _none_on_bus(
    pci: Pci, gpus: Gpus | Unavailable, host: Host | Unavailable, target: Target
) -> Iterator[Finding]:
    seen = saw("NVIDIA / AMD GPUs on the bus", f"0 / {len(pci.amd_gpus)}", SOURCE)
    if isinstance(gpus, Gpus) and gpus.gpus:
        yield passed("host", "{n} GPUs answer through NVML, though the PCI bus shows none here", n=len(gpus.gpus),
                     evidence=seen)
    elif isinstance(host, Host) and host.wsl:
        yield skipped("host", "under WSL a GPU is not on the PCI bus; driver.nvml-unusable says whether one is there",
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
