"""PCIe access control (ACS) sends traffic between GPUs up to the processor and back.

## Why it matters
With ACS request or completion redirect on, a PCIe switch may no longer pass packets from one GPU to the next. They go
through the root complex: peer-to-peer copies run at a fraction of their speed, and on some boards NCCL hangs. Virtual
machines need ACS, so it is not judged inside one.

The rule: several GPUs, and redirect on at a switch port above one of them. A root port counts only while the IOMMU
translates: traffic between GPUs on different root ports crosses the root complex anyway, and Linux switches ACS on
there whenever there is an IOMMU. Reading the bits needs root.

## How to fix
Switch ACS off in the firmware, or for the named ports at boot (`pci=disable_acs_redir=`). Devices behind one switch can
then reach each other's memory past the IOMMU: do not do it where GPUs are handed to virtual machines of different
owners.

## References
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
- https://docs.kernel.org/admin-guide/kernel-parameters.html
- https://github.com/vllm-project/vllm/issues/5458
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci

SOURCE = "PCI configuration space, ACS control"


@check()
def acs_on(pci: Pci, host: Host | Unavailable) -> Iterator[Finding]:
    """Judge the redirect bits of the switch ports above several GPUs."""
    gpus = (*pci.nvidia_gpus, *pci.amd_gpus)
    iommu = saw("IOMMU", known(pci.iommu), "/sys/class/iommu")
    if isinstance(host, Host) and known(host.virtual_machine):
        yield skipped("host", "a virtual machine does not see the real switches", evidence=iommu)
        return
    if len(gpus) < 2:
        yield skipped("host", "fewer than two GPUs", evidence=iommu)
        return
    through_root = known(pci.iommu) == "translated"
    above = {address for gpu in gpus for address in (gpu.upstream if through_root else gpu.upstream[:-1])}
    paths_known = any(gpu.upstream for gpu in gpus)
    ports = tuple(bridge for bridge in pci.bridges if bridge.address in above or not paths_known)
    on = tuple(port.address for port in ports if known(port.acs_redirect))
    hidden = next((p.acs_redirect for p in ports if isinstance(p.acs_redirect, Unavailable)), None)
    if on:
        yield warned(
            "host",
            "PCIe access control redirects traffic between the GPUs at {ports}",
            ports=on,
            evidence=(saw("redirect on at", on, SOURCE), iommu),
            fix=(
                step("Switch ACS off in the firmware (often under PCIe or IOMMU settings), or boot with iommu=pt."),
                step(
                    "Or switch the redirect off for these ports at boot: add pci=disable_acs_redir={list} to the "
                    "kernel's command line.",
                    risk="devices behind one switch can reach each other past the IOMMU",
                    list=";".join(on),
                ),
            ),
        )
    elif hidden is not None and not hidden.harmless:
        yield unknown("host", "the ACS bits could not be read: {reason}", reason=hidden.reason, evidence=iommu,
                      fix=step("Ask as root.", "sudo gpudoctor check --only host.acs-on"))
    elif not ports:
        yield passed("host", "no PCIe switch is between the GPUs and their root ports", evidence=iommu)
    else:
        yield passed("host", "no switch above the GPUs redirects their traffic",
                     evidence=(saw("switch ports looked at", len(ports), SOURCE), iommu))
