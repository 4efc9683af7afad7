"""What runs on the GPUs now, as services: containers by their image and command, other processes by what they hold."""

from collections.abc import Iterator

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Place
from gpudoctor.facts.docker import Container, Containers
from gpudoctor.facts.gpus import GpuProcess, Gpus
from gpudoctor.facts.serving import Serving
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.fit.model import Unusable
from gpudoctor.judging.served import own_processes
from gpudoctor.judging.workloads import as_service
from gpudoctor.plan.composed import service_of
from gpudoctor.plan.service import RUNNING, Service

_HERE = Place(file=RUNNING, line=1)
#: Less than this is a bare context: nothing to move.
_WORTH_BYTES = 64 << 20


def services_of(machine: Snapshot) -> tuple[Service, ...]:
    """Return what holds GPU memory now, or was given GPUs and will.

    Raises:
        Unusable: The GPUs or their processes cannot be seen.
    """
    gpus = machine.gpus
    if not isinstance(gpus, Gpus):
        raise Unusable(f"the GPUs cannot be seen: {gpus.reason}", hint='name services: gpudoctor plan FILE')
    if not gpus.answering:
        raise Unusable("no GPU answers here", hint='--hardware "4x Quadro RTX 8000" names GPUs you do not have')
    held = dict(_held(gpus, _together(machine, gpus)))
    found: list[Service] = []
    containers = machine.containers.containers if isinstance(machine.containers, Containers) else ()
    for container in containers:
        if container.running:
            own = held.pop(container.id, {})
            service = _container(container, gpus, own)
            if service is not None:
                found.append(service)
    for name, by_gpu in held.items():
        total = {n: size for n, size in by_gpu.items() if size is None or size >= _WORTH_BYTES}
        if total:
            found.append(_process(name, total))
    for gpu in gpus.answering:
        if isinstance(gpu.processes, Unavailable):
            found.append(Service(f"processes of GPU {gpu.index}", _HERE, written=(gpu.index,),
                                 problem=f"they cannot be listed: {gpu.processes.reason}"))
    return _distinct(found)


def _together(machine: Snapshot, gpus: Gpus) -> dict[int, str]:
    """Return by process the engine that it belongs to: the ranks of one engine are one service."""
    endpoints = machine.serving.endpoints if isinstance(machine.serving, Serving) else ()
    found: dict[int, str] = {}
    for endpoint in endpoints:
        model = endpoint.loaded[0].name if endpoint.loaded else endpoint.url
        for gpu in gpus.answering:
            for process in own_processes(endpoint, gpu) if endpoint.container_id is None else ():
                found[process.pid] = f"{endpoint.engine or 'engine'} {model}"
    return found


def _held(gpus: Gpus, groups: dict[int, str]) -> Iterator[tuple[str, dict[int, int | None]]]:
    """Yield container or process with the bytes that it holds of each GPU; None where the driver hides them."""
    found: dict[str, dict[int, int | None]] = {}
    for gpu in gpus.answering:
        if isinstance(gpu.processes, Unavailable):
            continue
        for process in gpu.processes:
            if process.kind != "compute":
                continue
            by_gpu = found.setdefault(process.container or groups.get(process.pid) or _name(process), {})
            before = by_gpu.get(gpu.index, 0)
            by_gpu[gpu.index] = None if before is None or process.used_bytes is None else before + process.used_bytes
    yield from found.items()


def _name(process: GpuProcess) -> str:
    return f"{(process.name or 'process').rpartition('/')[2]} ({process.pid})"


def _container(container: Container, gpus: Gpus, held: dict[int, int | None]) -> Service | None:
    facts = as_service(container)
    service = service_of(facts, gpus)
    if service is None:
        return _process(container.name, held) if held else None
    if held and (service.problem is not None or not service.models):
        return _process(container.name, held)._replace(engine=None)
    return service


def _process(name: str, held: dict[int, int | None]) -> Service:
    written = tuple(sorted(held))
    known = [size for size in held.values() if size is not None]
    service = Service(name, _HERE, written=written)
    if len(known) < len(held):
        return service._replace(problem="the driver hides how much its processes hold")
    # One figure for each of its GPUs: the largest, so that any of them may take any part.
    return service._replace(memory_bytes=max(known), measured=tuple((n, held[n] or 0) for n in written))


def _distinct(services: list[Service]) -> tuple[Service, ...]:
    seen: dict[str, int] = {}
    found = []
    for service in services:
        count = seen[service.name] = seen.get(service.name, 0) + 1
        found.append(service if count == 1 else service._replace(name=f"{service.name} #{count}"))
    return tuple(found)
