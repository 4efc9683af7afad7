"""The machine that ``compat`` judges: recorded, this one, or named GPUs that nobody has bought yet."""

import re
from typing import NamedTuple

from msgspec.structs import replace

from gpudoctor.facts.amd import Amd, AmdGpu
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.matrices import gpus as gpu_table

#: The snapshot's sections that compat reads.
SECTIONS = frozenset({"gpus", "driver", "pci", "host", "amd"})
_MOST = 1024
_ASIDE = Unavailable("compat judges what is asked for, not what is installed", "not-applicable")


class NamedGpu(NamedTuple):
    """A GPU by name: an NVIDIA product of the table, or an AMD one by its architecture."""

    name: str
    capability: tuple[int, int] | None
    pci_device: str | None
    gfx: str | None


class UnknownGpu(Exception):
    """A name that means no GPU, or several that differ; the message is one line, the hint names near ones."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def cards_named(text: str) -> tuple[NamedGpu, ...]:
    """Read ``4x Quadro RTX 8000`` or ``2x RTX 4090 + L4``.

    Raises:
        UnknownGpu: A part names none, or products of different compute capability.
    """
    found: list[NamedGpu] = []
    for part in text.split("+"):
        match = re.fullmatch(r"\s*(?:(\d{1,4})\s*[xX*]\s*)?(\S.{0,99}?)\s*", part)
        count = int(match[1] or 1) if match else 0
        if match is None or not 0 < count <= _MOST or len(found) + count > _MOST:
            raise UnknownGpu(f"{part.strip()[:60]!r} names no GPU", 'write it as "2x RTX 4090 + RTX 3060"')
        found += [_card(match[2])] * count
    return tuple(found)


def _card(name: str) -> NamedGpu:
    rows = gpu_table.by_name(name)
    if rows and len({row.compute_capability for row in rows}) == 1:
        return NamedGpu(rows[0].name, rows[0].compute_capability, rows[0].pci_ids[0].partition(":")[2] or None
                        if rows[0].pci_ids else None, None)
    if rows:
        raise UnknownGpu(f"{name!r} may be several GPUs", f"for example {rows[0].name} or {rows[-1].name}")
    amd = gpu_table.amd_by_name(name)
    if amd and len({row.gfx for row in amd}) == 1:
        return NamedGpu(amd[0].name, None, None, amd[0].gfx)
    near = gpu_table.nearest_names(name)
    raise UnknownGpu(f"no GPU is known as {name!r}", f"did you mean {', '.join(near)}?" if near else
                     "name it as its vendor does")


def named(cards: tuple[NamedGpu, ...], driver: str | None, architecture: str = "x86_64") -> Snapshot:
    """Return a machine with these GPUs and driver, of which nothing else is known."""
    nvidia = tuple(
        Gpu(index=n, name=each.name, compute_capability=each.capability)
        for n, each in enumerate(cards) if each.capability is not None
    )
    radeons = tuple(AmdGpu(address=f"amd:{n}", device="", name=each.name, gfx=each.gfx) for n, each in enumerate(cards)
                    if each.gfx is not None)
    bus = tuple(
        PciDevice(address=f"{n:04x}:01:00.0", vendor="10de", device=each.pci_device, class_code="0302", driver="nvidia")
        for n, each in enumerate(cards) if each.pci_device is not None
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
