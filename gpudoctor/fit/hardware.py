"""The GPUs a model is judged on: named ones, recorded ones or this machine's."""

import re
from typing import TYPE_CHECKING, NamedTuple

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.settings import GIB, MIB, size

if TYPE_CHECKING:
    from gpudoctor.matrices.gpus import NvidiaGpu

MAXIMUM_GPUS = 1024
#: Less than this is the driver's own bookkeeping, not somebody's memory.
HELD_BYTES = 256 * MIB


class Holder(NamedTuple):
    """A process that holds memory of a GPU; bytes are None where the driver hides them."""

    pid: int
    name: str
    used_bytes: int | None


class Gpu(NamedTuple):
    """One GPU as the arithmetic sees it."""

    number: int
    """Its index on the machine."""
    name: str
    total_bytes: int
    """As the driver reports it."""
    usable_bytes: int
    """What CUDA can hand out: the total less what the driver keeps for itself."""
    free_bytes: int
    compute_capability: tuple[int, int] | None = None
    vendor: str = "nvidia"
    gfx: str | None = None
    bandwidth_bytes_per_s: float | None = None
    native: tuple[str, ...] = ()
    """Tensor formats in hardware: bf16, fp8, fp4, int8."""
    nvlink: bool = False
    """The product can have NVLink between cards."""
    holders: tuple[Holder, ...] = ()
    peers: tuple[int, ...] | None = None
    """GPUs reached over active NVLink; None when not known."""
    numa_node: int | None = None

    @property
    def idle_bytes(self) -> int:
        """Free memory if every process on it were stopped."""
        return self.usable_bytes


class Hardware(NamedTuple):
    """Everything around the model: GPUs in the order asked for, host memory, driver."""

    gpus: tuple[Gpu, ...]
    host_total_bytes: int | None = None
    host_free_bytes: int | None = None
    host_bandwidth_bytes_per_s: float | None = None
    driver: str | None = None
    link: str | None = None
    """``nvlink`` or ``pcie`` between the GPUs; None when not known."""
    live: bool = False
    """Read from a machine, so that other processes' memory counts."""
    assumed: tuple[str, ...] = ()
    engines: tuple[tuple[str, str | None, bool], ...] = ()
    """(engine, version, runs now) of what is installed, running ones first."""
    disk_free_bytes: int | None = None
    disk_kind: str | None = None
    disk_path: str | None = None


# What the driver keeps of each GPU's memory, as (MiB, part of the total): NVML's total less the "total
# capacity" that PyTorch prints on the same card, read in public out-of-memory messages and vLLM logs (T4 14.74,
# V100 31.73, RTX 3090 23.69, A6000 47.53, A10 22.06, L4 22.05, L40S 44.4, A100 39.39 and 79.15, RTX 4090 23.64,
# H100 79.1 to 79.2, H200 139.8, RTX 5090 31.36, B200 178.35 GiB). ECC on GDDR costs more than the rest.
_RESERVED = {
    "Pascal": (200, 0.0),
    "Volta": (265, 0.0),
    "Turing": (265, 0.0),
    "Ampere": (165, 0.0061),
    "Ampere gddr": (290, 0.0068),
    "Ampere hbm": (330, 0.0066),
    "Ada": (200, 0.0062),
    "Ada gddr": (290, 0.0068),
    "Hopper": (400, 0.00145),
    "Blackwell": (420, 0.0022),
    "Blackwell hbm": (400, 0.0018),
}


def reserved_bytes(total_bytes: int, architecture: str, kind: str, memory_type: str) -> int:
    """Memory that the driver keeps of a card: not in CUDA's total, though in NVML's."""
    family = architecture.split()[0]
    if "HBM" in memory_type.upper():
        family = family if family in ("Volta", "Pascal", "Hopper") else f"{family} hbm"
    elif kind == "datacenter" and family in ("Ampere", "Ada"):
        family = f"{family} gddr"
    base, part = _RESERVED.get(family, _RESERVED["Hopper"])
    return round(base * MIB + part * total_bytes)


# What CUDA reports of memory that is shared with the host, where no card has a size of its own: NVML tells none.
# GB10: 119.7 GiB (vLLM's start-up logs on DGX Spark; 0.55 of it leaves Qwen3-30B-A3B-FP8 394,016 tokens, as printed).
_UNIFIED = {"NVIDIA GB10": round(119.7 * GIB)}

_COUNTED = r"\s*(?:(\d{1,4})\s*[xX*]\s+|(\d{1,4})[xX*])?\s*(\S.*?)\s*"


def named(text: str, free: str | None = None) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """GPUs that the user does not own, by name: ``4x Quadro RTX 8000``, mixed cards joined by ``+``.

    `free` lists sizes in the same order, one for all of them or one each. Returns the GPUs and what was assumed.
    Raises Unusable for an unknown name or a list of another length.
    """
    gpus: list[Gpu] = []
    assumed: list[str] = []
    for part in text.split("+"):
        match = re.fullmatch(_COUNTED, part[:200])
        count = int(match[1] or match[2] or 1) if match else 0
        if not match or not 0 < count <= MAXIMUM_GPUS or len(gpus) + count > MAXIMUM_GPUS:
            raise Unusable(f"{part.strip()[:60]!r} names no GPU", hint='Write it as "2x RTX 4090 + RTX 3060".')
        card = _card(match[3], assumed)
        gpus += [card._replace(number=len(gpus) + i) for i in range(count)]
    if free is not None:
        sizes = [size(part) for part in free.split(",")]
        if len(sizes) == 1:
            sizes *= len(gpus)
        if len(sizes) != len(gpus):
            raise Unusable(
                f"--free lists {len(sizes)} sizes for {len(gpus)} GPUs", hint="Give one size, or one for each GPU."
            )
        for gpu, free_bytes in zip(gpus, sizes, strict=True):
            if free_bytes > gpu.total_bytes:
                raise Unusable(
                    f"--free gives {gpu.name} {free_bytes / GIB:.1f} GiB, more than its {gpu.total_bytes / GIB:.1f}"
                )
        gpus = [gpu._replace(free_bytes=free) for gpu, free in zip(gpus, sizes, strict=True)]
    return tuple(gpus), tuple(dict.fromkeys(assumed))


def _card(name: str, assumed: list[str]) -> Gpu:
    from gpudoctor.matrices import gpus as matrix

    if len(name) > 100:
        raise Unusable(f"{name[:60]!r} names no GPU")
    found = matrix.by_name(name)
    if found:
        return _nvidia(name, found, assumed)
    amd = matrix.amd_by_name(name) or tuple(card for card in matrix.amd() if card.name.lower() == name.lower())
    if not amd:
        nearest = matrix.nearest_names(name)
        hint = f"Did you mean {', '.join(nearest)}?" if nearest else "Name it as its vendor does."
        raise Unusable(f"no GPU is known as {name!r}", hint=hint)
    card = min(amd, key=lambda gpu: gpu.memory_gb)
    if len(amd) > 1:
        assumed.append(f"{name} is the {card.name}")
    total = card.memory_gb * GIB
    return Gpu(
        number=0,
        name=card.name,
        total_bytes=total,
        usable_bytes=total - 64 * MIB,
        free_bytes=total - 64 * MIB,
        vendor="amd",
        gfx=card.gfx,
        bandwidth_bytes_per_s=card.bandwidth_gb_s * 1e9,
        native=("bf16", "int8"),
    )


def _nvidia(name: str, found: tuple["NvidiaGpu", ...], assumed: list[str]) -> Gpu:
    known = [card for card in found if card.memory_mib]
    if known:
        # Products of one name differ in their link more than in their memory: the usual one is the server module.
        card = max(known, key=lambda card: (-card.memory_mib[0] // 1024, card.bandwidth_gb_s or 0.0))
        if len({(card.memory_mib[0], card.bandwidth_gb_s) for card in known}) > 1:
            assumed.append(f"{name} is the {card.name}")
        total = card.memory_mib[0] * MIB
        usable = total - reserved_bytes(total, card.architecture, card.kind, card.memory_type)
    elif found[0].name in _UNIFIED:
        card = found[0]
        total = usable = _UNIFIED[card.name]
    else:
        raise Unusable(f"the memory of {found[0].name} is not known", hint="Judge it on the machine itself.")
    return Gpu(
        number=0,
        name=card.name,
        total_bytes=total,
        usable_bytes=usable,
        free_bytes=usable,
        compute_capability=card.compute_capability,
        bandwidth_bytes_per_s=card.bandwidth_gb_s * 1e9 if card.bandwidth_gb_s else None,
        native=tuple(card.native),
        # The GB10's joins it to its own processor.
        nvlink=card.nvlink is not None and card.name not in _UNIFIED,
    )
