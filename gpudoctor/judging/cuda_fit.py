"""Driver, GPU and CUDA build: the arithmetic of compatibility that every check of the stack shares."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from gpudoctor.checking.needs import known
from gpudoctor.checking.target import Target
from gpudoctor.facts.base import NOT_RECORDED, Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.cards import card
from gpudoctor.matrices import cuda_arch, cuda_driver
from gpudoctor.matrices import gpus as gpu_table
from gpudoctor.matrices.engines import Machine
from gpudoctor.matrices.versions import at_least

Capability = tuple[int, int]
#: Desktop machine code is not promised to run on these: CUDA C++ Programming Guide, "Binary Compatibility".
_TEGRA: frozenset[Capability] = frozenset({(5, 3), (6, 2), (7, 2), (8, 7), (11, 0)})


class Card(NamedTuple):
    """One NVIDIA GPU as versions see it; ``kind`` is the GPU table's, None where the table lacks the product."""

    subject: str
    name: str
    capability: Capability
    kind: str | None

    @property
    def dotted(self) -> str:
        """``8.9`` for ``(8, 9)``."""
        return dotted(self.capability)


class Machinery(NamedTuple):
    """The GPUs that count, the driver and its ceiling. ``ceiling`` is the newest CUDA that the driver has itself."""

    cards: tuple[Card, ...]
    driver: str | None
    ceiling: str | None
    wsl: bool = False
    machine: Machine = "x86_64"
    gpus: Gpus | Unavailable = NOT_RECORDED

    @property
    def lowest(self) -> Capability | None:
        """The lowest compute capability here."""
        return min((each.capability for each in self.cards), default=None)

    def of(self, indices: Sequence[int] | None) -> "Machinery":
        """Return the same machine with some of its GPUs alone; None means all."""
        names = {f"gpu:{index}" for index in indices or ()}
        return self if indices is None else self._replace(cards=tuple(c for c in self.cards if c.subject in names))


def machinery(
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Machinery:
    """Collect what is known of GPUs and driver; the PCI bus stands in for an NVML that does not answer."""
    cards = _answering(gpus, target) or _on_the_bus(pci)
    version = known(gpus.driver_version) if isinstance(gpus, Gpus) else None
    version = version or (known(driver.loaded_version) if isinstance(driver, Driver) else None)
    wsl = isinstance(host, Host) and host.wsl
    told = known(gpus.cuda_version) if isinstance(gpus, Gpus) else None
    told_cuda = f"{told // 1000}.{told % 1000 // 10}" if told else None
    # A compat libcuda on the path makes NVML tell its own version; the table knows the driver's.
    ceiling = (None if wsl or version is None else cuda_driver.max_cuda(version)) or told_cuda
    arch = known(host.architecture) if isinstance(host, Host) else None
    return Machinery(cards, version, ceiling, wsl, "aarch64" if arch in ("aarch64", "arm64") else "x86_64", gpus)


def _answering(gpus: Gpus | Unavailable, target: Target) -> tuple[Card, ...]:
    if isinstance(gpus, Unavailable):
        return ()
    found: list[Card] = []
    for gpu in gpus.answering:
        row = card(gpu)
        capability = known(gpu.compute_capability) or (row.compute_capability if row else None)
        if capability is not None and target.chosen(gpu.index):
            kind = row.kind if row else "geforce" if "GeForce" in gpu.label else None
            found.append(Card(gpu.subject, gpu.label, capability, kind))
    return tuple(found)


def _on_the_bus(pci: Pci | Unavailable) -> tuple[Card, ...]:
    found: list[Card] = []
    for device in () if isinstance(pci, Unavailable) else pci.nvidia_gpus:
        rows = gpu_table.by_pci_id(device.vendor, device.device)
        if rows and len({row.compute_capability for row in rows}) == 1:
            found.append(Card(f"pci:{device.address}", rows[0].name, rows[0].compute_capability, rows[0].kind))
    return tuple(found)


def dotted(capability: Capability) -> str:
    """Return ``8.9`` for ``(8, 9)``."""
    return f"{capability[0]}.{capability[1]}"


def major(cuda: str) -> int | None:
    """Return 12 for ``12.9``, None for what is no version."""
    number = cuda.partition(".")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 4 else None


def reaches(version: str, floor: str) -> bool | None:
    """Tell whether a driver or CUDA version is a floor or newer; None when either is no version."""
    try:
        return at_least(version, floor)
    except ValueError:
        return None


def floor_of(cuda: str | None) -> str | None:
    """Return the oldest driver for a CUDA version's major version, None when it is not known."""
    number = major(cuda) if cuda else None
    row = cuda_driver.floor_for_cuda(number) if number is not None else None
    return row.min_driver if row else None


def driver_runs(here: Machinery, cuda: str | None, floor: str | None) -> bool | None:
    """Tell whether the driver is new enough for a build of one CUDA version; None when that is not known.

    Under WSL the driver's number is Windows' own, so the CUDA that it reports decides.
    """
    if here.wsl:
        have, need = major(here.ceiling or ""), major(cuda or "")
        return None if have is None or need is None else have >= need
    floor = floor or floor_of(cuda)
    return None if here.driver is None or floor is None else reaches(here.driver, floor)


Reach = Literal["native", "ptx", "ptx-too-new", "none", "doubtful"]


def reach(arch_list: tuple[str, ...], cuda: str | None, each: Card, ceiling: str | None) -> Reach:
    """Tell how a build's code reaches a GPU.

    ``ptx-too-new``: only as PTX of a newer CUDA than the driver compiles. ``doubtful``: machine code that CUDA
    promises for desktop GPUs alone, on a Tegra, or PTX where the driver's CUDA is not known.
    """
    found = cuda_arch.coverage(arch_list, each.capability)
    if found == "native":
        exact = f"sm_{each.capability[0]}{each.capability[1]}" in arch_list
        return "doubtful" if each.capability in _TEGRA and not exact else "native"
    if found == "none":
        return "none"
    if ceiling is None or cuda is None:
        return "doubtful"
    enough = reaches(ceiling, cuda)
    return "doubtful" if enough is None else "ptx" if enough else "ptx-too-new"


def may_carry_newer(here: Machinery) -> bool | None:
    """Tell whether an image's cuda-compat libraries can lift this driver to CUDA 13; None when only some may."""
    rule = cuda_driver.forward_compatibility()
    branch = cuda_driver.branch_of(here.driver) if here.driver else None
    if not here.cards or branch is None or branch < min(rule.cuda13_base):
        return False
    answers = [None if each.kind is None else rule.works_on(each.kind) for each in here.cards]
    return False if False in answers else None if None in answers else True
