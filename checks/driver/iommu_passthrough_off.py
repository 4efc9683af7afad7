"""The IOMMU translates every access between GPUs on a machine with several of them.

## Why it matters
With translation on, peer-to-peer traffic between GPUs goes through the IOMMU at the root of the bus: slower at best;
at worst NCCL or RCCL hang, or copy wrong data. Passthrough mode (`iommu=pt`) keeps the IOMMU for virtual machines and
takes it out of the way of the host's own devices.

## How to fix
Boot with `iommu=pt`, or turn the IOMMU off in the firmware where no virtual machine needs it. Where GPUs are handed on
to virtual machines leave it as it is.

## References
- https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#iommu-on-linux
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
- https://rocm.docs.amd.com/en/latest/how-to/system-optimization/index.html
- https://docs.kernel.org/admin-guide/kernel-parameters.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, need, passed, saw, skipped, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.remedies import boot_option


@check()
def iommu_passthrough_off(pci: Pci, host: Host | Unavailable) -> Iterator[Finding]:
    """Judge machines with at least two GPUs of one vendor that this system uses itself."""
    most = max((sum(d.driver != "vfio-pci" for d in group) for group in (pci.nvidia_gpus, pci.amd_gpus)), default=0)
    if most < 2:
        yield skipped("host", "matters only between several GPUs of one vendor; there are {n}", n=most)
        return
    mode = need(pci.iommu)
    options = host.kernel_options if isinstance(host, Host) else {}
    seen = (
        saw("IOMMU", mode, "/sys/kernel/iommu_groups/*/type"),
        saw("boot options", tuple(f"{k}={v}" for k, v in options.items() if "iommu" in k), "/proc/cmdline"),
    )
    if mode == "translated":
        yield warned("host", "the IOMMU translates the traffic between {n} GPUs", n=most, evidence=seen,
                     fix=boot_option(host, "iommu=pt"))
    else:
        yield passed("host", "the IOMMU does not stand between the GPUs ({mode})", mode=mode, evidence=seen)
