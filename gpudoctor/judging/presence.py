"""Whether there is an NVIDIA GPU to judge a driver by, and whether these files are this machine's own."""

from collections.abc import Iterable

from gpudoctor.checking.finding import Finding, skipped, unknown
from gpudoctor.checking.needs import NotKnown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci, PciDevice

_HYPERVISOR_DRIVERS = ("vfio-pci", "pci-stub", "pciback")


def need_nvidia(pci: Pci | Unavailable) -> tuple[PciDevice, ...]:
    """Return the NVIDIA GPUs on the bus that this system may use; without any, end this check with ``skip``."""
    if isinstance(pci, Unavailable):
        raise NotKnown(pci)
    if not pci.nvidia_gpus:
        raise NotKnown(Unavailable("no NVIDIA GPU on the PCI bus", "not-applicable"))
    ours = own_nvidia(pci)
    if not ours:
        raise NotKnown(Unavailable("every NVIDIA GPU is handed on to virtual machines (vfio-pci)", "not-applicable"))
    return ours


def own_nvidia(pci: Pci) -> tuple[PciDevice, ...]:
    """Return the NVIDIA GPUs on the bus, without those that are handed on to virtual machines."""
    return tuple(device for device in pci.nvidia_gpus if device.driver not in _HYPERVISOR_DRIVERS)


def need_own_system(host: Host | Unavailable) -> None:
    """End this check with ``skip`` where kernel and packages are not this root's: containers, WSL."""
    if isinstance(host, Unavailable):
        return
    if host.wsl:
        raise NotKnown(Unavailable("under WSL the driver is Windows' own", "not-applicable"))
    if host.container is not None:
        raise NotKnown(Unavailable("inside a container; run gpudoctor on its host for this", "not-applicable"))


def closed_gate(section: str, fact: Unavailable) -> Finding:
    """Return what a gatekeeper says of its missing section: ``skip`` where there is none to read, else ``unknown``."""
    if fact.kind in ("not-applicable", "not-asked"):
        return skipped("host", "no {section} to judge: {reason}", section=section, reason=fact.reason)
    return unknown("host", "{section} could not be read: {reason}", section=section, reason=fact.reason)


def plain_address(address: object) -> str:
    """Return a PCI address in the kernel's form: NVML writes ``00000000:1A:00.0`` for ``0000:1a:00.0``."""
    text = str(address).lower()
    domain, colon, rest = text.partition(":")
    return f"{domain.lstrip('0').zfill(4)}:{rest}" if colon and rest.count(":") == 1 else text


def answering(gpus: Gpus | Unavailable) -> dict[str, Gpu]:
    """Return the GPUs that answer through NVML by PCI address; empty when NVML does not."""
    if isinstance(gpus, Unavailable):
        return {}
    return {plain_address(gpu.pci_address): gpu for gpu in gpus.answering}


def is_at(address: str | None, devices: Iterable[PciDevice]) -> bool:
    """Tell whether a kernel message's address, which may lack the function, is that of one of these devices."""
    if address is None:
        return False
    wanted = plain_address(address)
    return any(device.address.lower() in (wanted, f"{wanted}.0") for device in devices)
