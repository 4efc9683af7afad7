"""From the engine's JSON about containers and images to facts. Wrong types raise ``Unexpected``, secrets stay out."""

import re

from gpudoctor.facts.docker import Container, ContainerMount, DeviceRequest, ImageFacts, PublishedPort
from gpudoctor.probes.docker_answer import Answer
from gpudoctor.probes.without_secrets import container_environment, plain_command

_COMPOSE = "com.docker.compose."
_LABELS = ("project", "service", "project.config_files", "project.working_dir", "container-number", "version")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)?")
_MAX_MOUNTS = 64
_MAX_PORTS = 256
_MAX_NETWORKS = 32


def container_name(listed: Answer) -> str:
    """Return a container's own name; names with two slashes are links of other containers to it."""
    names = [name.lstrip("/") for name in listed.texts("Names", 64)]
    own = [name for name in names if name and "/" not in name]
    return (own or names or [listed.text("Id")[:12]])[0][:256]


def container(name: str, told: Answer) -> Container:
    """Read the answer to ``/containers/ID/json``.

    Raises:
        Unexpected: Something in it is of another type than Docker's API says.
    """
    config, host, state = told.part("Config"), told.part("HostConfig"), told.part("State")
    status = state.text("Status") or ("running" if state.flag("Running") else "exited")
    alive = status in ("running", "restarting", "paused")
    pid = state.number("Pid") or 0
    return Container(
        id=told.text("Id")[:64],
        name=name,
        image=config.text("Image")[:512],
        state=status[:32],
        started=time_of(state.text("StartedAt")),
        exit_code=None if alive else state.number("ExitCode"),
        runtime=host.text("Runtime")[:256] or told.text("OCIRuntime")[:256] or "runc",
        requests=tuple(_request(each) for each in host.parts("DeviceRequests", 64)),
        devices=tuple(each.text("PathOnHost") for each in host.parts("Devices")),
        environment=container_environment(config.texts("Env", 4096)),
        command=plain_command([each for each in (told.text("Path"), *told.texts("Args")) if each]),
        user=config.text("User")[:256],
        privileged=host.flag("Privileged"),
        shm_size_bytes=host.number("ShmSize") or 0,
        ipc_mode=host.text("IpcMode")[:256],
        network_mode=host.text("NetworkMode")[:256],
        addresses=_addresses(told.part("NetworkSettings")) if alive else (),
        memory_limit_bytes=host.number("Memory") or None,
        restart_policy=host.part("RestartPolicy").text("Name")[:64],
        health=state.part("Health").text("Status")[:64] or None,
        security_options=tuple(each[:256] for each in host.texts("SecurityOpt", 64)),
        labels=compose_labels(config.part("Labels")),
        ports=_ports(told.part("NetworkSettings").part("Ports")) or _ports(host.part("PortBindings")),
        mounts=tuple(_mount(each) for each in told.parts("Mounts", _MAX_MOUNTS)),
        pid=pid if alive and pid > 0 else None,
    )


def time_of(text: str) -> str | None:
    """Return Docker's time (nanoseconds, UTC) as ISO 8601 with seconds; None for its year 1, which means never."""
    match = _TIME.match(text)
    if match is None or match[1] == "0001":
        return None
    return f"{match[1]}-{match[2]}-{match[3]}{'Z' if match[4] in (None, 'Z', '+00:00') else match[4]}"


def compose_labels(labels: Answer) -> dict[str, str]:
    """Keep what Compose says of its own containers (podman-compose writes the same labels)."""
    names = [_COMPOSE + label for label in _LABELS]
    return {name: labels.text(name)[:1024] for name in names if labels.has(name)}


def _request(told: Answer) -> DeviceRequest:
    ids = tuple(each[:256] for each in told.texts("DeviceIDs"))
    return DeviceRequest(
        driver=told.text("Driver")[:64],
        count=None if ids else told.number("Count"),
        device_ids=ids,
        capabilities=_capabilities(told),
    )


def _capabilities(told: Answer) -> tuple[str, ...]:
    # A list of alternatives, each a list of capabilities.
    value = told.lists("Capabilities")
    return tuple(dict.fromkeys(each[:64] for inner in value for each in inner))[:64]


def _ports(told: Answer) -> tuple[PublishedPort, ...]:
    found: dict[PublishedPort, None] = {}
    for name in told.keys(_MAX_PORTS):
        port, _, protocol = name.partition("/")
        for binding in told.parts(name, 8):
            host_port = binding.text("HostPort")
            if port.isascii() and port.isdigit() and host_port.isascii() and host_port.isdigit() and len(host_port) < 6:
                found[
                    PublishedPort(host_port=int(host_port), container_port=int(port[:6]),
                                  address=binding.text("HostIp")[:64], protocol=(protocol or "tcp")[:8])
                ] = None
    return tuple(found)[:_MAX_PORTS]


def _addresses(told: Answer) -> tuple[str, ...]:
    networks = [told.part("Networks").part(name) for name in told.part("Networks").keys(_MAX_NETWORKS)]
    found = [each.text(field) for field in ("IPAddress", "GlobalIPv6Address") for each in networks]
    return tuple(dict.fromkeys(each[:64] for each in found if each))


def _mount(told: Answer) -> ContainerMount:
    return ContainerMount(
        source=told.text("Source") or told.text("Name"),
        destination=told.text("Destination"),
        kind=told.text("Type", "bind")[:32],
        writable=told.flag("RW"),
    )


def image_facts(told: Answer) -> ImageFacts:
    """Read the answer to ``/images/ID/json``.

    Raises:
        Unexpected: Something in it is of another type than Docker's API says.
    """
    variables = dict(each.partition("=")[::2] for each in told.part("Config").texts("Env", 4096))
    size = told.number("Size")
    return ImageFacts(
        id=told.text("Id")[:128],
        tags=tuple(each[:512] for each in told.texts("RepoTags", 64)),
        requires=_said(variables.get("NVIDIA_REQUIRE_CUDA")),
        cuda_version=_said(variables.get("CUDA_VERSION")),
        asks_for_gpus=variables.get("NVIDIA_VISIBLE_DEVICES", "void") not in ("", "void", "none"),
        size_bytes=0 if size is None else size,
    )


def _said(text: str | None) -> str | None:
    return text[:2048] if text else None


def asks_for_gpus(facts: Container) -> bool:
    """True for a container that was made to have GPUs, by whatever way."""
    wanted = facts.environment.get("NVIDIA_VISIBLE_DEVICES", "void")
    image = facts.image_facts
    return (
        any("gpu" in each.capabilities or each.driver in ("nvidia", "cdi", "amd") for each in facts.requests)
        or "nvidia" in facts.runtime
        or wanted not in ("", "void", "none")
        or any(_is_gpu_node(each) for each in facts.devices)
        or (isinstance(image, ImageFacts) and image.asks_for_gpus)
    )


def _is_gpu_node(path: str) -> bool:
    return path.startswith(("/dev/nvidia", "/dev/kfd", "/dev/dri")) or "nvidia.com/gpu" in path

