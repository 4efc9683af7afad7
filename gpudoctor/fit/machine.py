"""A snapshot's GPUs, memory, driver and disk as `Hardware`."""

from collections.abc import Sequence

from gpudoctor.facts.amd import Amd
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.gpus import Gpu as GpuFacts
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Memory
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.facts.storage import Storage
from gpudoctor.fit.hardware import Gpu, Hardware, Holder, reserved_bytes
from gpudoctor.fit.model import Unusable
from gpudoctor.fit.settings import MIB

#: The snapshot's sections that fit reads.
SECTIONS = frozenset({"gpus", "memory", "driver", "storage", "amd", "engines", "python_envs"})

_PACKAGES = {
    "vllm": "vllm",
    "sglang": "sglang",
    "text-generation-server": "tgi",
    "ktransformers": "ktransformers",
    "transformers": "transformers",
}


def hardware_of(snapshot: Snapshot, wanted: Sequence[int] | None) -> Hardware:
    """The GPUs asked for, in the order asked, with their live free memory and who holds the rest.

    Raises Unusable for an index the machine lacks or a GPU that does not answer.
    """
    found = _nvidia(snapshot) or _amd(snapshot)
    if wanted is not None:
        found = [_pick(found, index) for index in wanted]
    memory = snapshot.memory
    total = free = None
    if isinstance(memory, Memory):
        total, free = memory.total_bytes, memory.available_bytes
        if memory.cgroup_limit_bytes is not None:
            free = min(free, memory.cgroup_limit_bytes - (memory.cgroup_used_bytes or 0))
    disk_free, disk_kind, disk_path = _disk(snapshot)
    return Hardware(
        tuple(found),
        host_total_bytes=total,
        host_free_bytes=free,
        driver=_driver(snapshot),
        live=True,
        engines=_engines(snapshot),
        disk_free_bytes=disk_free,
        disk_kind=disk_kind,
        disk_path=disk_path,
    )


def _engines(snapshot: Snapshot) -> tuple[tuple[str, str | None, bool], ...]:
    found: list[tuple[str, str | None, bool]] = []
    if isinstance(snapshot.engines, Engines):
        found += [(each.engine, each.version, bool(each.pids)) for each in snapshot.engines.engines]
    if isinstance(snapshot.python_envs, PythonEnvs):
        for environment in snapshot.python_envs.environments:
            for name, engine in _PACKAGES.items():
                package = environment.package(name)
                if package is not None:
                    found.append((engine, package.version, bool(environment.pids)))
    return tuple(sorted(found, key=lambda each: not each[2]))


def _pick(gpus: Sequence[Gpu], index: int) -> Gpu:
    for gpu in gpus:
        if gpu.number == index:
            return gpu
    there = ", ".join(str(gpu.number) for gpu in gpus)
    hint = f"It has {there}." if there else 'It has none; --hardware "2x RTX 4090" names GPUs you do not have.'
    raise Unusable(f"GPU {index} does not exist on this machine", where="--gpus", hint=hint)


def _nvidia(snapshot: Snapshot) -> list[Gpu]:
    gpus = snapshot.gpus
    if not isinstance(gpus, Gpus):
        return []
    by_address = {gpu.pci_address: gpu.index for gpu in gpus.gpus if isinstance(gpu.pci_address, str)}
    switched = frozenset(gpu.index for gpu in gpus.gpus if _on_switch(gpu))
    found = []
    for gpu in gpus.gpus:
        total = gpu.memory_total_bytes
        if gpu.failure is not None or isinstance(total, Unavailable):
            continue
        found.append(_gpu(gpu, total, by_address, switched))
    return found


def _gpu(gpu: GpuFacts, total: int, by_address: dict[str, int], switched: frozenset[int]) -> Gpu:
    from gpudoctor.matrices import gpus as matrix

    rows = matrix.by_name(gpu.label)
    row = rows[0] if rows else None
    reserved = gpu.memory_reserved_bytes
    if isinstance(reserved, Unavailable):
        reserved = reserved_bytes(total, row.architecture, row.kind, row.memory_type) if row else 300 * MIB
    usable = total - reserved
    free = usable if isinstance(gpu.memory_free_bytes, Unavailable) else min(gpu.memory_free_bytes, usable)
    capability = gpu.compute_capability
    if isinstance(capability, Unavailable):
        capability = row.compute_capability if row else None  # type: ignore[assignment]
    holders: tuple[Holder, ...] = ()
    if not isinstance(gpu.processes, Unavailable):
        holders = tuple(Holder(p.pid, p.name or "?", p.used_bytes) for p in gpu.processes)
    return Gpu(
        number=gpu.index,
        name=gpu.label,
        total_bytes=total,
        usable_bytes=usable,
        free_bytes=free,
        compute_capability=capability,  # type: ignore[arg-type]
        bandwidth_bytes_per_s=row.bandwidth_gb_s * 1e9 if row and row.bandwidth_gb_s else None,
        native=tuple(row.native) if row else (),
        nvlink=bool(row and row.nvlink),
        holders=holders,
        peers=_peers(gpu, by_address, switched),
        numa_node=None if isinstance(gpu.numa_node, Unavailable) else gpu.numa_node,
    )


def _on_switch(gpu: GpuFacts) -> bool:
    links = gpu.nvlinks
    return not isinstance(links, Unavailable) and any(
        link.active and link.remote_type is not None and "switch" in link.remote_type for link in links
    )


def _peers(gpu: GpuFacts, by_address: dict[str, int], switched: frozenset[int]) -> tuple[int, ...] | None:
    if isinstance(gpu.nvlinks, Unavailable):
        return None
    direct = {by_address[link.remote] for link in gpu.nvlinks if link.active and link.remote in by_address}
    if gpu.index in switched:
        direct |= switched
    return tuple(sorted(direct - {gpu.index}))


def _amd(snapshot: Snapshot) -> list[Gpu]:
    amd = snapshot.amd
    if not isinstance(amd, Amd):
        return []
    from gpudoctor.matrices import gpus as matrix

    found = []
    for i, gpu in enumerate(amd.gpus):
        if gpu.failure is not None or isinstance(gpu.vram_total_bytes, Unavailable):
            continue
        rows = matrix.amd_by_name(gpu.name) if gpu.name else ()
        used = 0 if isinstance(gpu.vram_used_bytes, Unavailable) else gpu.vram_used_bytes
        total = gpu.vram_total_bytes
        found.append(
            Gpu(
                number=i,
                name=gpu.name or "AMD GPU",
                total_bytes=total,
                usable_bytes=total,
                free_bytes=total - used,
                vendor="amd",
                gfx=gpu.gfx or (rows[0].gfx if rows else None),
                bandwidth_bytes_per_s=rows[0].bandwidth_gb_s * 1e9 if rows else None,
            )
        )
    return found


def _driver(snapshot: Snapshot) -> str | None:
    gpus, driver = snapshot.gpus, snapshot.driver
    if isinstance(gpus, Gpus) and isinstance(gpus.driver_version, str):
        return gpus.driver_version
    version = getattr(driver, "loaded_version", None) if isinstance(driver, Driver) else None
    return version if isinstance(version, str) else None


def _disk(snapshot: Snapshot) -> tuple[int | None, str | None, str | None]:
    if not isinstance(snapshot.storage, Storage):
        return None, None, None
    order = ("ollama-models", "huggingface-cache", "models", "root")
    volumes = {volume.purpose: volume for volume in reversed(snapshot.storage.volumes)}
    for purpose in order:
        volume = volumes.get(purpose)
        if volume is not None and not isinstance(volume.free_bytes, Unavailable):
            return volume.free_bytes, volume.device_class, volume.path
    return None, None, None
