"""Several AMD GPUs work behind a translating IOMMU; AMD asks for `iommu=pt`.

## Why it matters
With translation on, every access of one GPU to another goes through the IOMMU: multi-GPU work is slow, and RCCL can
hang or fail. `iommu=pt` keeps the IOMMU for virtual machines and lets the devices of the host past it. It is not judged
inside a virtual machine, nor for a single GPU.

## How to fix
Add `iommu=pt` to the kernel's command line and reboot. Devices of the host can then reach all of memory, as without an
IOMMU.

## References
- https://rocm.docs.amd.com/projects/install-on-linux/en/latest/reference/install-faq.html
- https://instinct.docs.amd.com/projects/amdgpu-docs/en/latest/system-optimization/mi300x.html
- https://docs.kernel.org/admin-guide/kernel-parameters.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, need, passed, saw, skipped, step, warned
from gpudoctor.checking.finding import Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.amd_machine import compute_gpus, reason_to_skip
from gpudoctor.judging.remedies import fitting


@check()
def iommu(pci: Pci, host: Host | Unavailable) -> Iterator[Finding]:
    """Judge how the IOMMU treats the GPUs now, not only what the command line asks."""
    why = reason_to_skip(pci, host)
    if why is not None:
        yield skipped("host", "nothing to judge: {reason}", reason=why)
        return
    if isinstance(host, Host) and known(host.virtual_machine):
        yield skipped("host", "a virtual machine does not see the host's IOMMU")
        return
    if len(compute_gpus(pci)) < 2:
        yield skipped("host", "fewer than two AMD GPUs")
        return
    mode = need(pci.iommu)
    asked = host.kernel_options.get("iommu", "") if isinstance(host, Host) else ""
    seen = (saw("IOMMU", mode, "/sys/class/iommu, iommu_groups/*/type"), saw("iommu=", asked, "/proc/cmdline"))
    if mode == "translated":
        yield warned("host", "{n} AMD GPUs work behind a translating IOMMU", n=len(compute_gpus(pci)), evidence=seen,
                     fix=_pass_through(host))
    else:
        yield passed("host", "the IOMMU does not stand between the GPUs ({mode})", mode=mode, evidence=seen)


def _pass_through(host: Host | Unavailable) -> tuple[Step, ...]:
    risk = "takes effect at the next boot; the host's devices may then reach all of memory"
    return fitting(
        host,
        debian=step("Add iommu=pt to GRUB_CMDLINE_LINUX in /etc/default/grub, then reboot.", "sudo update-grub",
                    risk=risk),
        rhel=step("Set it for all kernels, then reboot.", "sudo grubby --update-kernel=ALL --args=iommu=pt", risk=risk),
        nixos=step('Set boot.kernelParams = [ "iommu=pt" ]; then rebuild.', "sudo nixos-rebuild boot", risk=risk),
        other=step("Boot with iommu=pt on the kernel's command line.", risk=risk),
    )
