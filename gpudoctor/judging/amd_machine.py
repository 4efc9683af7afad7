"""Which AMD GPUs of a machine are meant for computing: not the processor's graphics, not a server's old VGA chip."""

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci, PciDevice

# PCI device ids by family, from pci.ids (2026-11): Vega 20, Vega 10, then everything from Navi 10 and CDNA on.
_CARDS = (range(0x66A0, 0x66B0), range(0x6860, 0x6880), range(0x7310, 0x7600))
# Ryzen AI graphics that vLLM's ROCm page lists: Strix (gfx1150) and Strix Halo (gfx1151).
_RYZEN_AI = (0x150E, 0x1586)


def compute_gpus(pci: Pci) -> tuple[PciDevice, ...]:
    """Return the AMD GPUs to judge: cards, else Ryzen AI graphics where no other GPU is there.

    An id that is in neither list is not judged: it is a display chip, or newer than this list.
    """
    cards = tuple(gpu for gpu in pci.amd_gpus if _is_in(gpu, *_CARDS))
    if cards or pci.nvidia_gpus:
        return cards
    return tuple(gpu for gpu in pci.amd_gpus if _number(gpu) in _RYZEN_AI)


def _is_in(gpu: PciDevice, *ranges: range) -> bool:
    return any(_number(gpu) in family for family in ranges)


def _number(gpu: PciDevice) -> int:
    try:
        return int(gpu.device, 16)
    except ValueError:
        return 0


def reason_to_skip(pci: Pci | Unavailable, host: Host | Unavailable) -> str | None:
    """Return why the AMD checks have nothing to judge here, None when they have."""
    if isinstance(pci, Unavailable):
        return f"the PCI bus could not be read: {pci.reason}"
    if not pci.amd_gpus:
        return "no AMD GPU on the PCI bus"
    if not compute_gpus(pci):
        return "the AMD graphics here are the processor's or a display chip, not a GPU for models"
    if isinstance(host, Host) and host.wsl:
        return "under WSL the driver is Windows' own"
    if all(gpu.driver == "vfio-pci" for gpu in compute_gpus(pci)):
        return "the AMD GPUs are given to a virtual machine (vfio-pci)"
    return None
