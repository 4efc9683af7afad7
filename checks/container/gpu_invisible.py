"""A container has no GPU at all.

## Why it matters
Nothing asked for a GPU when it was created, or a variable hides them: the engine then runs on the CPU, or not at all.
`NVIDIA_VISIBLE_DEVICES` unset or `void` means no GPU, silently.

Judged for running containers that asked for GPUs, and for images of known engines. One that cannot work without a GPU
fails; Ollama and llama.cpp compute on the CPU, which is a warning.

## How to fix
Ask for the GPUs: `--gpus all`, or deploy.resources.reservations.devices in Compose.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
- https://docs.docker.com/compose/how-tos/gpu-support/
"""

from collections.abc import Iterator

from gpudoctor.checking import (
    Evidence,
    Finding,
    Step,
    check,
    failed,
    known,
    passed,
    saw,
    skipped,
    step,
    unknown,
    warned,
)
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Container, Containers, Docker
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.signatures import NOT_PASTED
from gpudoctor.judging.docker_remedies import compose_file, recreate
from gpudoctor.judging.gpu_containers import (
    NEED_GPU,
    engine_of,
    gpu_minors,
    meant_for_gpus,
    nvidia_runtime,
    route,
    visible_devices,
)
from gpudoctor.judging.presence import need_nvidia


@check(gatekeeper_of="containers")
def gpu_invisible(
    containers: Containers | Unavailable,
    docker: Docker | Unavailable,
    container_toolkit: ContainerToolkit | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
) -> Iterator[Finding]:
    """Judge running containers that asked for GPUs, and those whose image is an engine."""
    if isinstance(containers, Unavailable):
        said = skipped if containers.harmless or isinstance(docker, Unavailable) else unknown
        yield said("host", "the containers could not be read: {reason}", reason=containers.reason)
        return
    if isinstance(docker, Unavailable):
        if docker != NOT_PASTED:
            yield skipped("host", "no Docker to judge: {reason}", reason=docker.reason)
            return
        # What docker inspect says of a request holds whatever the engine is.
        docker = Docker(endpoint="", runtimes=NOT_PASTED)
    if pci != NOT_PASTED:
        need_nvidia(pci)
    if isinstance(driver, Driver) and known(driver.loaded_version) is None:
        yield skipped("host", "no driver is loaded, so no container has a GPU; driver.not-loaded says so")
        return
    unread = tuple(c for c in containers.containers if c.running and c.failure is not None)
    for each in unread:
        yield unknown(each.subject, "the engine did not tell about it: {failure}", failure=each.failure)
    if containers.not_recorded:
        yield unknown("host", "{more} more containers were not read", more=containers.not_recorded)
    told = (c for c in containers.containers if c.running and c.failure is None)
    found = tuple(c for c in told if meant_for_gpus(c, docker) or (engine_of(c) and not _for_amd(c)))
    for each in found:
        yield _judge(each, docker, container_toolkit)
    if not found and not unread:
        yield skipped("host", "no running container asks for a GPU or is a known engine")


def _for_amd(each: Container) -> bool:
    """True for what asks for AMD's GPUs, which arrive as plain devices."""
    return "rocm" in each.image.lower() or any(d.startswith(("/dev/kfd", "/dev/dri")) for d in each.devices)


def _judge(each: Container, docker: Docker, toolkit: ContainerToolkit | Unavailable) -> Finding:
    way = route(each, docker, toolkit)
    seen = _seen(each, way)
    minors = gpu_minors(each)
    readable = not isinstance(each.device_nodes, Unavailable)
    if not meant_for_gpus(each, docker) and not minors:
        return _nothing_asked(each, docker, seen)
    if way == "ignored":
        return failed(each.subject, "this podman ignores --gpus: the container has no GPU", evidence=seen,
                      fix=step("Ask by the CDI name.", "podman run --device nvidia.com/gpu=all IMAGE"))
    if readable and not minors:
        if isinstance(each.nvidia_mounts, tuple) and each.nvidia_mounts:
            return failed(each.subject, "the driver's files are mounted, and no GPU's device node is there",
                          evidence=seen, fix=(recreate(each), _which(each)))
        return failed(each.subject, "it asked for GPUs ({way}) and got none: neither device nodes nor driver files",
                      way=way or "not known", evidence=seen, fix=(recreate(each), _which(each)))
    if (hidden := _hidden(each, len(minors) if readable else None)) is not None:
        return failed(each.subject, "CUDA_VISIBLE_DEVICES={value} hides every GPU inside: nvidia-smi shows {count}, "
                      "CUDA finds none", value=hidden, count=len(minors) if minors else "them", evidence=seen,
                      fix=(step("Take the variable away: inside, GPUs are numbered from 0. Choose them by device_ids "
                                "or NVIDIA_VISIBLE_DEVICES."), _edit(each)))
    if not readable and isinstance(each.device_nodes, Unavailable):
        said = skipped if each.device_nodes.harmless else unknown
        return said(each.subject, "it asked for GPUs ({way}); whether they arrived cannot be seen: {reason}",
                    way=way or "not known", reason=each.device_nodes.reason, evidence=seen)
    return passed(each.subject, "{count} GPUs are inside (by {way})", count=len(minors), way=way or "not known",
                  evidence=seen)


def _nothing_asked(each: Container, docker: Docker, seen: tuple[Evidence, ...]) -> Finding:
    engine = engine_of(each) or "the engine"
    told = each.environment.get("NVIDIA_VISIBLE_DEVICES")
    fix = (step("Ask for the GPUs when the container is created; in Compose by deploy.resources.reservations.devices.",
                "docker run --gpus all IMAGE", risk="recreates the container"), _edit(each))
    if isinstance(each.device_nodes, Unavailable) and each.privileged:
        said = skipped if each.device_nodes.harmless else unknown
        return said(each.subject, "whether this privileged container sees GPUs cannot be seen: {reason}",
                       reason=each.device_nodes.reason, evidence=seen)
    if nvidia_runtime(each, docker) and visible_devices(each) is None:
        tell = failed if engine in NEED_GPU else warned
        return tell(each.subject, "it runs under the nvidia runtime, and NVIDIA_VISIBLE_DEVICES is {value}: that is no "
                    "GPU", value=told if told else "not set", evidence=seen,
                    fix=(step("Say which: all, or 0,1."), _edit(each)))
    if engine in NEED_GPU:
        return failed(each.subject, "{engine} has no GPU: nothing asked for one when it was created", engine=engine,
                      evidence=seen, fix=fix)
    return warned(each.subject, "{engine} computes on the CPU: nothing asked for a GPU when it was created",
                  engine=engine, evidence=seen, fix=fix)


def _hidden(each: Container, count: int | None) -> str | None:
    """Return CUDA_VISIBLE_DEVICES when its first entry is none of the container's GPUs, None when it shows some."""
    value = each.environment.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return None
    first = value.partition(",")[0].strip()
    if first in ("", "-1", "NoDevFiles"):
        return value.strip() or "(empty)"
    beyond = first.isascii() and first.isdigit() and count is not None and int(first[:9]) >= count
    return value if beyond else None


def _which(each: Container) -> Step:
    return step("See what the engine logged at its start.", "docker logs {container}", container=each.name)


def _edit(each: Container) -> Step:
    file = compose_file(each)
    if file is None:
        return step("See how it was created.", "docker inspect {container}", container=each.name)
    return step("It is Compose's: this names the place.", "gpudoctor compose lint {file}", file=file)


def _seen(each: Container, way: str | None) -> tuple[Evidence, ...]:
    nodes = None if isinstance(each.device_nodes, Unavailable) else each.device_nodes
    mounts = None if isinstance(each.nvidia_mounts, Unavailable) else len(each.nvidia_mounts)
    asked = tuple(f"{r.driver or 'gpu'}: {', '.join(r.device_ids) or ('all' if r.count == -1 else r.count)}"
                  for r in each.requests)
    found = [saw("path", way, "docker inspect"), saw("image", each.image, "docker inspect"),
             saw("runtime", each.runtime, "docker inspect"), saw("GPU requests", asked or None, "docker inspect"),
             saw("device nodes", nodes or None, "/proc/PID/root/dev"), saw("driver files", mounts, "mountinfo")]
    for name in ("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        if name in each.environment:
            found.append(saw(name, each.environment[name] or "(empty)", "environment"))
    return tuple(found)
