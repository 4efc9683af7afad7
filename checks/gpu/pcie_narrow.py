"""The GPU's PCIe link has fewer lanes than card and slot can do.

## Why it matters
A link that trained with fewer lanes loads models and exchanges tensor-parallel data at that fraction of the speed. The
usual causes are a card not fully seated, a bad riser, or dust in the slot. Fewer lanes because the slot or the board
has no more is by design, and a virtual machine often tells nothing true about lanes.

## How to fix
Power off, reseat the card, try without the riser and in another slot. Lane splitting (bifurcation) is a firmware
setting.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
- https://github.com/aws/aws-k8s-tester/issues/806
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, need, noted, passed, saw, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci, PciDevice


@check()
def pcie_narrow(gpu: Gpu, pci: Pci | Unavailable, host: Host | Unavailable) -> Iterator[Finding]:
    """Judge the width now against card and system; the generation is low at idle and not judged here."""
    device = _device(gpu, pci)
    width = known(gpu.pcie.width)
    if width is None:
        width = known(device.link_width) if device is not None else None
    if width is None:
        width = need(gpu.pcie.width)
    most, card = known(gpu.pcie.max_width), known(gpu.pcie.card_max_width)
    if card is None and device is not None:
        card = known(device.max_link_width)
    seen = (saw("lanes now", width, "nvmlDeviceGetCurrPcieLinkWidth"),
            saw("lanes that card and system can do", most, "nvmlDeviceGetMaxPcieLinkWidth"),
            saw("lanes that the card can do", card, "/sys/bus/pci/devices"))
    virtual = isinstance(host, Host) and host.virtual_machine is True
    if most is not None and width < most and virtual:
        yield noted(gpu.subject, "{name} shows x{width} of x{most} lanes; a virtual machine may not tell the truth",
                    name=gpu.label, width=width, most=most, evidence=seen)
    elif most is not None and width < most:
        yield warned(
            gpu.subject,
            "{name} runs with x{width} lanes where card and slot can do x{most}",
            name=gpu.label, width=width, most=most, evidence=seen,
            fix=(step("Power off and reseat the card; try without the riser, then another slot."),
                 step("See what card and slot say.", "sudo lspci -vv -s {address}",
                      address=known(gpu.pci_address) or "")),
        )
    elif card is not None and width < card:
        yield noted(gpu.subject, "{name} runs with x{width} lanes, all that this slot gives; the card could do x{card}",
                    name=gpu.label, width=width, card=card, evidence=seen)
    else:
        yield passed(gpu.subject, "the PCIe link has x{width} lanes", width=width, evidence=seen)


def _device(gpu: Gpu, pci: Pci | Unavailable) -> PciDevice | None:
    if isinstance(pci, Unavailable) or not isinstance(gpu.pci_address, str):
        return None
    address = gpu.pci_address.lower()[-12:]
    return next((d for d in pci.nvidia_gpus if d.address.lower()[-12:] == address), None)
