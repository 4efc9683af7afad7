"""The CDI specification is missing, unreadable, or does not list the GPU that was asked for.

## Why it matters
With CDI the engine injects what a specification on disk lists. After a driver upgrade, a changed MIG layout or a card
in another slot it lists what is no longer there; without one every name is "unresolvable".

## How to fix
Write it anew, or let nvidia-cdi-refresh do so.

## References
- https://docs.docker.com/build/building/cdi/
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/cdi-support.html
"""

import re
from collections import Counter
from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, Step, check, failed, known, passed, saw, skipped, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import CdiSpec, ContainerToolkit
from gpudoctor.facts.docker import Container, Containers, Docker
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.docker_remedies import write_cdi
from gpudoctor.judging.gpu_containers import asked_ids, is_gpu_request
from gpudoctor.judging.gpu_paths import KIND, gpu_specs
from gpudoctor.judging.presence import need_nvidia

#: The toolkit's names by number: a GPU, and a MIG device of one.
_NUMBERED = re.compile(r"(?:gpu)?\d{1,4}")
_MIG_DEVICE = re.compile(r"(?:mig)?(\d{1,4}):\d{1,4}")


@check()
def cdi_stale(
    container_toolkit: ContainerToolkit,
    docker: Docker | Unavailable,
    containers: Containers | Unavailable,
    driver: Driver | Unavailable,
    gpus: Gpus | Unavailable,
    pci: Pci | Unavailable,
) -> Iterator[Finding]:
    """Hold each specification against the driver, the GPUs and the files it names. Podman reads the same ones."""
    need_nvidia(pci)
    if isinstance(container_toolkit.cdi_specs, Unavailable):
        yield skipped("host", "CDI specifications could not be read: {reason}",
                      reason=container_toolkit.cdi_specs.reason)
        return
    specs = gpu_specs(docker if isinstance(docker, Docker) else None, container_toolkit)
    fix = write_cdi(container_toolkit)
    asking = _asking(containers)
    listed = {name for spec in specs for name in spec.devices}
    for each in asking:
        names = asked_ids(each, docker) if isinstance(docker, Docker) else None
        absent = tuple(name for name in names or ("all",) if name not in listed)
        if absent and not (isinstance(docker, Docker) and _discovered(docker, absent)):
            yield failed(each.subject, "it asks for {kind}={absent}, which no specification lists", kind=KIND,
                         absent=absent, fix=fix, evidence=saw("listed", ", ".join(sorted(listed)) or None, "CDI"))
    loaded = known(driver.loaded_version) if isinstance(driver, Driver) else None
    for spec in specs:
        yield _judge(spec, loaded, gpus, bool(asking), write_cdi(container_toolkit, spec.path))
    if not specs and not asking:
        yield skipped("host", "no CDI specification of NVIDIA's GPUs, and no container asks for one")


def _asking(containers: Containers | Unavailable) -> tuple[Container, ...]:
    if isinstance(containers, Unavailable):
        return ()
    return tuple(c for c in containers.containers if any(d.startswith(f"{KIND}=") for d in c.devices)
                 or any(r.driver == "cdi" and is_gpu_request(r) for r in c.requests))


def _discovered(docker: Docker, names: tuple[str, ...]) -> bool:
    devices = known(docker.cdi_devices) or ()
    return all(f"{KIND}={name}" in devices for name in names)


def _judge(spec: CdiSpec, loaded: str | None, gpus: Gpus | Unavailable, used: bool, fix: tuple[Step, ...]) -> Finding:
    subject = f"file:{spec.path}"
    seen: tuple[Evidence, ...] = (
        saw("devices", ", ".join(spec.devices[:16]) or None, spec.path),
        saw("driver versions in it", ", ".join(spec.library_versions) or None, spec.path),
        saw("loaded driver", loaded, "/sys/module/nvidia/version"), saw("changed", known(spec.changed), "stat"),
    )
    if spec.failure is not None:
        said = failed if used else warned
        return said(subject, "{path} cannot be read: {failure}", path=spec.path, failure=spec.failure, evidence=seen,
                    fix=fix)
    others = tuple(version for version in spec.library_versions if loaded is not None and version != loaded)
    if others:
        said = failed if used or spec.missing else warned
        return said(subject, "{path} is of driver {others}, and {loaded} is loaded: containers get the wrong "
                    "libraries or do not start", path=spec.path, others=others, loaded=loaded, evidence=seen, fix=fix)
    if spec.missing:
        return failed(subject, "{path} names {missing}, which is not there: containers do not start", path=spec.path,
                      missing=spec.missing[:4], evidence=seen, fix=fix)
    absent = _unlisted(spec, gpus)
    if absent:
        return warned(subject, "{path} does not list GPU {absent}", path=spec.path, absent=absent, evidence=seen,
                      fix=fix)
    if (mig := _other_layout(spec, gpus)) is not None:
        return warned(subject, "{path} is of another MIG layout: it lists {listed} MIG devices of GPU {index}, which "
                      "has {instances} GPU instances", path=spec.path, index=mig[0], listed=mig[1], instances=mig[2],
                      evidence=seen, fix=fix)
    return passed(subject, "{path} fits the loaded driver and the GPUs", path=spec.path, evidence=seen)


def _unlisted(spec: CdiSpec, gpus: Gpus | Unavailable) -> tuple[int, ...]:
    """GPUs that a specification by number lacks; by UUID, or with MIG, it is not compared."""
    numbers = {name for name in spec.devices if name.isascii() and name.isdigit()}
    if isinstance(gpus, Unavailable) or not numbers:
        return ()
    mig = any(not isinstance(gpu.mig, Unavailable) and gpu.mig.enabled for gpu in gpus.gpus)
    return () if mig else tuple(gpu.index for gpu in gpus.gpus if str(gpu.index) not in numbers)


def _other_layout(spec: CdiSpec, gpus: Gpus | Unavailable) -> tuple[int, int, int] | None:
    """Return the first GPU whose MIG devices in the specification cannot be those it has, and both counts.

    A GPU instance has at least one MIG device, and several where it is divided among compute instances. Names by
    number alone are compared (``0:1``, ``mig0:1``): of a UUID, nothing here says which GPU it is of.
    """
    if isinstance(gpus, Unavailable) or not any(_NUMBERED.fullmatch(name) for name in spec.devices):
        return None
    listed = Counter(int(found[1]) for name in spec.devices if (found := _MIG_DEVICE.fullmatch(name)))
    for gpu in gpus.gpus:
        if isinstance(gpu.mig, Unavailable):
            continue
        instances = known(gpu.mig.instances) if gpu.mig.enabled else 0
        if instances is not None and (listed[gpu.index] < instances or (listed[gpu.index] and not instances)):
            return gpu.index, listed[gpu.index], instances
    return None
