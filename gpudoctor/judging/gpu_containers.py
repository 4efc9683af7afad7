"""Which containers are meant to have GPUs, by which path they got them, and which engine their image is."""

from typing import Literal

from gpudoctor.checking.needs import known
from gpudoctor.checking.target import Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Container, Containers, DeviceRequest, Docker
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.judging.gpu_paths import KIND, paths, runtime_mode

#: How a container got its GPUs: ``hook`` and ``legacy`` change device rules behind the engine's back.
Route = Literal["hook", "legacy", "jit-cdi", "cdi", "csv", "devices", "privileged", "ignored"]
#: Part of an image's repository -> engine.
_ENGINES = {"vllm": "vllm", "sglang": "sglang", "ollama": "ollama", "text-generation-inference": "tgi",
            "llama.cpp": "llama.cpp", "ktransformers": "ktransformers"}
#: They do not start without a GPU; the others compute on the CPU, silently.
NEED_GPU = frozenset({"vllm", "sglang", "tgi", "ktransformers"})
#: Values of NVIDIA_VISIBLE_DEVICES that give a container no GPU.
_NOTHING = frozenset({"", "void", "none"})


def engine_of(container: Container) -> str | None:
    """Return the engine that a container's image is known to hold, None for any other image."""
    tags = () if isinstance(container.image_facts, Unavailable) else container.image_facts.tags
    for name in (container.image, *tags):
        repository = name.partition("@")[0].lower()
        repository = repository.rpartition(":")[0] if ":" in repository.rpartition("/")[2] else repository
        # vllm/vllm-openai, ollama/ollama, ghcr.io/ggml-org/llama.cpp; never open-webui's :ollama tag.
        if "open-webui" in repository or "exporter" in repository:
            continue
        for part, engine in _ENGINES.items():
            if part in repository and not (engine == "vllm" and "cpu" in repository):
                return engine
    return None


def is_gpu_request(request: DeviceRequest) -> bool:
    """True for ``--gpus`` and CDI requests of NVIDIA's GPUs."""
    if request.driver == "cdi":
        return any(name.startswith(KIND) for name in request.device_ids)
    return request.driver in ("", "nvidia") and ("gpu" in request.capabilities or request.driver == "nvidia")


def nvidia_runtime(container: Container, docker: Docker | None) -> bool:
    """True if it runs under NVIDIA's runtime, by name or because that is the default."""
    registered = docker.runtime(container.runtime) if docker is not None else None
    path = registered.path if registered is not None and registered.path else ""
    return container.runtime == "nvidia" or path.rpartition("/")[2].startswith("nvidia-container-runtime")


def visible_devices(container: Container) -> str | None:
    """Return what NVIDIA's runtime is told to inject: ``all``, ``0,1``, names; None for nothing."""
    value = container.environment.get("NVIDIA_VISIBLE_DEVICES")
    if value is None:
        image = container.image_facts
        return "all" if not isinstance(image, Unavailable) and image.asks_for_gpus else None
    return None if value.strip().lower() in _NOTHING else value.strip()


def route(container: Container, docker: Docker, toolkit: ContainerToolkit | Unavailable) -> Route | None:
    """Return the path by which a container got its GPUs, None when nothing asked for any.

    For a container that runs already, the toolkit may have been another one when it started: what its scope says
    counts for more.
    """
    asked = tuple(request for request in container.requests if is_gpu_request(request))
    if any(request.driver == "cdi" for request in asked) or any(d.startswith(f"{KIND}=") for d in container.devices):
        return "cdi"
    if asked:
        if docker.kind == "podman":
            path = paths(docker, toolkit).gpus if isinstance(toolkit, ContainerToolkit) else None
            return "ignored" if path is not None and path.cause == "ignored" else "cdi"
        if isinstance(toolkit, ContainerToolkit) and paths(docker, toolkit).gpus.by == "cdi":
            return "cdi"
        return "hook"
    if nvidia_runtime(container, docker) and visible_devices(container) is not None:
        mode = runtime_mode(toolkit) if isinstance(toolkit, ContainerToolkit) else None
        return mode if mode in ("jit-cdi", "cdi", "csv") else "legacy"  # type: ignore[return-value]
    if any(device.startswith("/dev/nvidia") for device in container.devices):
        return "devices"
    return "privileged" if container.privileged and _has_gpu_nodes(container) else None


def _has_gpu_nodes(container: Container) -> bool:
    return bool(gpu_minors(container))


def gpu_minors(container: Container) -> tuple[int, ...]:
    """Return the minor numbers of the GPUs whose nodes are in a container; empty when they could not be read."""
    names = known(container.device_nodes) or ()
    numbers = (name.removeprefix("nvidia") for name in names)
    return tuple(sorted(int(n) for n in numbers if n.isascii() and n.isdigit() and len(n) < 6))


def asked_ids(container: Container, docker: Docker) -> tuple[str, ...] | None:
    """Return the GPUs that a container asked for by index or name, None for all, or when it gave a count only."""
    for request in container.requests:
        if is_gpu_request(request):
            names = tuple(name.rpartition("=")[2] for name in request.device_ids)
            return None if not names or "all" in names else names
    named = tuple(d.rpartition("=")[2] for d in container.devices if d.startswith(f"{KIND}="))
    if named:
        return None if "all" in named else named
    value = visible_devices(container) if nvidia_runtime(container, docker) else None
    if value is None or value.lower() == "all":
        return None
    return tuple(part.strip() for part in value.split(",") if part.strip())


def named_gpu(name: str, gpus: Gpus) -> Gpu | None:
    """Return the GPU of an index or a (shortened) UUID."""
    if name.isascii() and name.isdigit():
        return next((gpu for gpu in gpus.gpus if gpu.index == int(name[:9])), None)
    return next((gpu for gpu in gpus.gpus if isinstance(gpu.uuid, str) and gpu.uuid.startswith(name)), None)


def meant_for_gpus(container: Container, docker: Docker) -> bool:
    """True if a container asked for GPUs when it was created."""
    return (
        any(is_gpu_request(request) for request in container.requests)
        or any(d.startswith(("/dev/nvidia", f"{KIND}=")) for d in container.devices)
        or (nvidia_runtime(container, docker) and visible_devices(container) is not None)
    )


def wanted_gpus(
    target: Target, containers: Containers | Unavailable, compose: Compose | Unavailable, docker: Docker
) -> str | None:
    """Return who wants GPUs in a container here: an image, a service, a container; None when nobody does."""
    image = next((wish.image for wish in target.engines if wish.image), None)
    if image is not None:
        return image
    if isinstance(compose, Compose):
        service = next((each for each in compose.services if each.requests), None)
        if service is not None:
            return service.subject
    if isinstance(containers, Containers):
        found = next((c for c in containers.containers if meant_for_gpus(c, docker) or engine_of(c) in NEED_GPU), None)
        return found.subject if found is not None else None
    return None
