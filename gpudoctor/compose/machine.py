"""The machine that a Compose project is judged for: this one's sections, or GPUs that are named."""

from gpudoctor.facts.amd import Amd, AmdGpu
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.fit.hardware import named

#: What the checks of Compose projects, and fit for them, read of a machine.
SECTIONS = frozenset({"gpus", "amd", "memory", "host", "driver", "docker", "containers", "processes", "storage"})


def named_machine(hardware: str, driver: str | None = None) -> Snapshot:
    """Return a machine with these idle GPUs (``4x Quadro RTX 8000``), of which nothing else is known.

    Raises:
        gpudoctor.fit.model.Unusable: No GPU is known by that name.
    """
    cards, _ = named(hardware)
    nvidia = tuple(
        Gpu(index=n, name=card.name, compute_capability=card.compute_capability or _none("compute capability"),
            memory_total_bytes=card.total_bytes, memory_reserved_bytes=card.total_bytes - card.usable_bytes,
            memory_free_bytes=card.free_bytes, processes=())
        for n, card in enumerate(each for each in cards if each.vendor == "nvidia")
    )
    radeons = tuple(
        AmdGpu(address=f"amd:{n}", device="", name=card.name, gfx=card.gfx, vram_total_bytes=card.total_bytes,
               vram_used_bytes=card.total_bytes - card.free_bytes)
        for n, card in enumerate(each for each in cards if each.vendor == "amd")
    )
    nobody = _none("Docker engine")
    return Snapshot(
        host=Host(hostname="named hardware"),
        gpus=Gpus(driver_version=driver or _none("driver"), count=len(nvidia), gpus=nvidia),
        amd=Amd(module_loaded=True, gpus=radeons) if radeons else _none("AMD GPU"),
        docker=nobody, containers=nobody, processes=_none("listener"),
    )


def _none(what: str) -> Unavailable:
    return Unavailable(f"no {what} was named", "not-applicable")
