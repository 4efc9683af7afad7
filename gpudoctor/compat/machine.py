"""The machine that ``compat`` judges: recorded, this one, or named GPUs that nobody has bought yet."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from gpudoctor.facts.amd import Amd, AmdGpu
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.matrices import gpus as gpu_table

if TYPE_CHECKING:
    from gpudoctor.fit.hardware import Gpu as NamedGpu

#: The snapshot's sections that compat reads.
SECTIONS = frozenset({"gpus", "driver", "pci", "host", "amd"})
_ASIDE = Unavailable("compat judges what is asked for, not what is installed", "not-applicable")


def named(cards: "tuple[NamedGpu, ...]", driver: str | None, architecture: str = "x86_64") -> Snapshot:
    """Return a machine with these GPUs and driver, of which nothing else is known."""
    nvidia = tuple(
        Gpu(index=n, name=each.name, compute_capability=each.compute_capability or _none("compute capability"))
        for n, each in enumerate(cards) if each.vendor == "nvidia"
    )
    radeons = tuple(AmdGpu(address=f"amd:{n}", device="", name=each.name, gfx=each.gfx) for n, each in enumerate(cards)
                    if each.vendor == "amd")
    bus = tuple(
        PciDevice(address=f"{n:04x}:01:00.0", vendor="10de", device=row.pci_ids[0].partition(":")[2],
                  class_code="0302", driver="nvidia")
        for n, each in enumerate(cards) if each.vendor == "nvidia"
        for row in gpu_table.by_name(each.name)[:1] if row.pci_ids
    )
    return Snapshot(
        pci=Pci(devices=bus),
        host=Host(hostname="named hardware", architecture=architecture, virtual_machine=False),
        gpus=Gpus(driver_version=driver or _none("driver"), count=len(nvidia), gpus=nvidia),
        driver=Driver(loaded_version=driver) if driver else _none("driver"),
        amd=Amd(module_loaded=True, gpus=radeons) if radeons else _none("AMD GPU"),
        python_envs=_ASIDE, toolkits=_ASIDE, engines=_ASIDE,
    )


def recorded(snapshot: Snapshot, driver: str | None) -> Snapshot:
    """Return a machine's record without what is installed, and with another driver where one is named."""
    snapshot = replace(snapshot, python_envs=_ASIDE, toolkits=_ASIDE, engines=_ASIDE)
    if driver is None:
        return snapshot
    gpus = snapshot.gpus if isinstance(snapshot.gpus, Gpus) else Gpus()
    facts = snapshot.driver if isinstance(snapshot.driver, Driver) else Driver()
    host = snapshot.host
    return replace(
        snapshot, gpus=replace(gpus, driver_version=driver, cuda_version=_none("CUDA version")),
        driver=replace(facts, loaded_version=driver),
        host=replace(host, wsl=False) if isinstance(host, Host) else host,
    )


def gpu_count(snapshot: Snapshot) -> int:
    """Return how many GPUs a release could be judged by."""
    found = len(snapshot.gpus.answering) if isinstance(snapshot.gpus, Gpus) else 0
    found += len(snapshot.amd.gpus) if isinstance(snapshot.amd, Amd) else 0
    return found or (len(snapshot.pci.nvidia_gpus) if isinstance(snapshot.pci, Pci) else 0)


def _none(what: str) -> Unavailable:
    return Unavailable(f"no {what} was named", "not-applicable")
