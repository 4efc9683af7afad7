"""What two nodes of one kind should have in common, as short texts: the ``machine`` of a report."""

from collections import Counter
from collections.abc import Iterable

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Docker
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host, Memory
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.words import short, size

#: Longer values are nobody's version.
_LONGEST = 120


def machine(facts: Snapshot) -> dict[str, str]:
    """Return ``{name: value}`` of hardware and versions that are known; nothing that tells one node from another.

    Figures that change by themselves (temperatures, free memory, idle link speed) are left out.
    """
    found: dict[str, str | None] = {}
    if isinstance(facts.host, Host):
        host = facts.host
        found |= {
            "system": host.os_name,
            "kernel": _text(host.kernel_release),
            "architecture": _text(host.architecture),
            "processor": _text(host.cpu_model),
            "processors": _text(host.cpu_count),
            "cgroup": _text(host.cgroup_version),
            "kernel options": " ".join(f"{k}={v}" if v else k for k, v in sorted(host.kernel_options.items())) or None,
        }
    if isinstance(facts.memory, Memory):
        # Firmware takes some of it, and not the same amount on every board.
        found["memory"] = size(round(facts.memory.total_bytes / 2**30) * 2**30)
    if isinstance(facts.gpus, Gpus):
        found["driver"] = _text(facts.gpus.driver_version)
        found |= _gpus(facts.gpus.gpus)
    if isinstance(facts.docker, Docker):
        docker = facts.docker
        found |= {
            "Docker": _text(docker.version),
            "runc": _text(docker.runc_version),
            "cgroup driver": _text(docker.cgroup_driver),
            "default runtime": _text(docker.default_runtime),
        }
    if isinstance(facts.container_toolkit, ContainerToolkit):
        found["container toolkit"] = _text(facts.container_toolkit.version)
    return {name: short(value, _LONGEST) for name, value in found.items() if value}


def _gpus(gpus: Iterable[Gpu]) -> dict[str, str | None]:
    gpus = tuple(gpus)
    return {
        "GPUs": _counted(gpu.label for gpu in gpus),
        "GPU memory": _all(size(g.memory_total_bytes) if isinstance(g.memory_total_bytes, int) else "" for g in gpus),
        "VBIOS": _all(_text(gpu.vbios) for gpu in gpus),
        "PCIe width": _all(_text(gpu.pcie.width) for gpu in gpus),
        "PCIe generation at best": _all(_text(gpu.pcie.max_generation) for gpu in gpus),
        "NVLinks up": _all(
            None if isinstance(gpu.nvlinks, Unavailable) else str(sum(link.active for link in gpu.nvlinks))
            for gpu in gpus
        ),
        "ECC": _all("" if isinstance(gpu.ecc, Unavailable) else _text(gpu.ecc.enabled) for gpu in gpus),
        "MIG": _all("" if isinstance(gpu.mig, Unavailable) else _text(gpu.mig.enabled) for gpu in gpus),
        "persistence mode": _all(_text(gpu.persistence) for gpu in gpus),
        "compute mode": _all(_text(gpu.compute_mode) for gpu in gpus),
        "power limit": _all(
            f"{gpu.power_limit_watts:.0f} W" if isinstance(gpu.power_limit_watts, float) else "" for gpu in gpus
        ),
    }


def _all(values: Iterable[str | None]) -> str | None:
    """Return ``A`` that all GPUs have, or ``1 x B, 7 x A`` where they differ; None where no GPU told."""
    told = [value for value in values if value]
    return told[0] if len(set(told)) == 1 else _counted(told)


def _counted(values: Iterable[str]) -> str | None:
    return ", ".join(f"{count} x {value}" for value, count in sorted(Counter(values).items())) or None


def _text(value: object) -> str | None:
    if value is None or isinstance(value, Unavailable):
        return None
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
