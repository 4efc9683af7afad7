"""What several GPU checks ask: which product a GPU is, which GPUs one model is meant for, how they are linked."""

from gpudoctor.checking.target import Target
from gpudoctor.evidence.kernel_messages import plain_address
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.matrices import gpus as table
from gpudoctor.matrices.gpus import NvidiaGpu

#: Idle utilisation: a display alone makes a few per cent.
_IDLE_PERCENT = 5
_IDLE_BIT = 0x1


def card(gpu: Gpu) -> NvidiaGpu | None:
    """Return the product, by name first (one PCI id may have several names); None for one the table lacks."""
    named = table.by_name(gpu.name) if isinstance(gpu.name, str) else ()
    if len(named) == 1:
        return named[0]
    device = gpu.pci_device.lower().removeprefix("0x") if isinstance(gpu.pci_device, str) else ""
    found = table.by_pci_id("10de", device[-4:]) if device else ()
    return found[0] if len(found) == 1 else None


def link_form(gpu: Gpu) -> str | None:
    """Return how this product is linked (``sxm``, ``bridge``, ``c2c`` …, ``none``), None when it is not known."""
    product = card(gpu)
    if product is None:
        return None
    return product.nvlink.form if product.nvlink is not None else "none"


def idle(gpu: Gpu) -> bool | None:
    """True if the GPU does nothing now, None when it does not tell."""
    if isinstance(gpu.utilization_percent, int):
        return gpu.utilization_percent <= _IDLE_PERCENT
    if isinstance(gpu.clock_event_samples, tuple) and gpu.clock_event_samples:
        return sum(bool(mask & _IDLE_BIT) for mask in gpu.clock_event_samples) * 2 > len(gpu.clock_event_samples)
    return None


def wanted_together(gpus: Gpus, target: Target) -> tuple[Gpu, ...]:
    """Return the GPUs that the operator means for one model, empty unless there are several.

    Several ``--gpus``, or a ``--model`` without any: every GPU of the machine.
    """
    if target.gpus is None and target.model is None:
        return ()
    chosen = tuple(gpu for gpu in gpus.answering if target.chosen(gpu.index))
    return chosen if len(chosen) > 1 else ()


def address(gpu: Gpu) -> str | None:
    """Return its PCI address without function, as the kernel log's events name it."""
    return plain_address(gpu.pci_address) if isinstance(gpu.pci_address, str) else None


def by_address(gpus: Gpus | Unavailable) -> dict[str, Gpu]:
    """Return the GPUs by that address."""
    if isinstance(gpus, Unavailable):
        return {}
    return {place: gpu for gpu in gpus.gpus if (place := address(gpu)) is not None}


def active_links(gpu: Gpu) -> int | None:
    """Return how many NVLinks are up, None when it has none or does not tell."""
    if isinstance(gpu.nvlinks, Unavailable):
        return None
    return sum(link.active for link in gpu.nvlinks)


def linked(first: Gpu, second: Gpu) -> bool:
    """True if NVLink connects two GPUs: through switches, or directly."""
    told = [peer.nvlinks for gpu, other in ((first, second), (second, first)) for peer in gpu.peers
            if peer.index == other.index and isinstance(peer.nvlinks, int)]
    if told:
        return any(told)
    ends, others = _link_ends(first), _link_ends(second)
    if "switch" in ends and "switch" in others:
        return True
    return address(second) in ends or address(first) in others


def _link_ends(gpu: Gpu) -> set[str | None]:
    """Return where its active links lead: PCI addresses, or ``switch``."""
    if isinstance(gpu.nvlinks, Unavailable):
        return set()
    ends: set[str | None] = set()
    for link in gpu.nvlinks:
        if link.active and link.remote_type in ("switch", "nvswitch"):
            ends.add("switch")
        elif link.active and link.remote is not None:
            ends.add(plain_address(link.remote))
    return ends
