"""Whether a running container still holds the GPUs that it was given, and what else could say "Unknown Error" there.

NVML says ``Failed to initialize NVML: Unknown Error`` when the device cgroup denies the nodes, and likewise to root in
a container where nothing was injected: the library makes ``/dev/nvidiactl`` itself and may not open it. Mounts, nodes
and the cgroup's rules tell these apart.
"""

import re
from typing import Literal, NamedTuple

from gpudoctor.checking.finding import Evidence, saw
from gpudoctor.checking.needs import known
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Container, Containers, Docker
from gpudoctor.facts.driver import Driver
from gpudoctor.judging.device_loss import Prediction, prediction, reload_since
from gpudoctor.judging.gpu_containers import gpu_minors

Kind = Literal[
    "holds",  # nodes are there, and nothing known denies them
    "denied",  # the device cgroup says no
    "reloaded",  # systemd wrote its rules anew since the start, without the GPUs: most likely denied
    "other-library",  # its driver library is of another version than the loaded module
    "no-nodes",  # driver libraries, and no GPU's node
    "nothing-injected",  # neither
    "not-known",
]
_LIBRARY = re.compile(r"lib(?:cuda|nvidia-ml)\.so\.(\d{2,4}\.\d{1,4}(?:\.\d{1,4})?)")


class State(NamedTuple):
    """What is left of a container's GPUs. ``reason`` says why it is not known; ``reload`` when systemd reloaded."""

    kind: Kind
    prediction: Prediction
    reload: str | None = None
    library: str | None = None
    reason: Unavailable | None = None


def state(
    container: Container,
    docker: Docker,
    toolkit: ContainerToolkit | Unavailable,
    containers: Containers,
    driver: Driver | Unavailable,
) -> State:
    """Judge one running container that asked for GPUs."""
    ahead = prediction(docker, container, toolkit)
    reload = reload_since(container.started, containers.reloads)
    library = injected_library(container)
    if isinstance(container.device_nodes, Unavailable):
        return State("not-known", ahead, reload, library, container.device_nodes)
    if not gpu_minors(container):
        return State("no-nodes" if known(container.nvidia_mounts) else "nothing-injected", ahead, reload, library)
    loaded = known(driver.loaded_version) if isinstance(driver, Driver) else None
    if library is not None and loaded is not None and library != loaded:
        return State("other-library", ahead, reload, library)
    if container.device_rights == "denied":
        return State("denied", ahead, reload, library)
    if container.device_rights == "allowed" or not ahead.reload:
        return State("holds", ahead, reload, library)
    if isinstance(containers.reloads, Unavailable):
        return State("not-known", ahead, reload, library, containers.reloads)
    return State("reloaded" if reload is not None else "holds", ahead, reload, library)


def injected_library(container: Container) -> str | None:
    """Return the driver version in the names of the libraries that were mounted into a container."""
    mounts = known(container.nvidia_mounts) or ()
    return next((found[1] for path in mounts if (found := _LIBRARY.search(path))), None)


def ruled(
    container: Container, now: State, toolkit: ContainerToolkit | Unavailable, driver: Driver | Unavailable
) -> tuple[Evidence, ...]:
    """Return every known cause of "Unknown Error", ruled in or out by what was seen."""
    nodes, mounts = known(container.device_nodes), known(container.nvidia_mounts)
    found: list[Evidence] = []
    if nodes is not None and mounts is not None:
        injected = bool(gpu_minors(container)) and bool(mounts)
        verdict = "ruled out" if injected else "ruled in"
        found.append(saw("nothing injected", f"{verdict}: {_names(nodes)}; {len(mounts)} driver files mounted",
                         "/proc/PID/root/dev, mountinfo"))
    rights = container.device_rights
    if isinstance(rights, str):
        found.append(saw("device cgroup", "ruled in: it denies 195:*" if rights == "denied" else "ruled out: it allows "
                         "195:*", "devices.list"))
    if isinstance(container.device_allow, tuple):
        listed = now.prediction.cause in ("listed", "privileged")
        found.append(saw("DeviceAllow of its scope", "lists its GPUs" if listed else "does not list /dev/char/195:*",
                         "systemctl show"))
    if now.reload is not None:
        found.append(saw("systemd reloaded", f"{now.reload}, the container started {container.started}", "journal"))
    loaded = known(driver.loaded_version) if isinstance(driver, Driver) else None
    if now.library is not None and loaded is not None:
        same = now.library == loaded
        found.append(saw("library of another version", f"{'ruled out: both' if same else 'ruled in:'} {now.library}"
                         + ("" if same else f", module {loaded}"), "mountinfo, /sys/module/nvidia"))
    if isinstance(toolkit, ContainerToolkit):
        config = toolkit.config
        if config is not None and not isinstance(config, Unavailable):
            found.append(saw("no-cgroups", "ruled in: set" if config.no_cgroups else "ruled out: not set", config.path))
        if isinstance(toolkit.char_links, tuple):
            links = sum("195:" in link for link in toolkit.char_links)
            found.append(saw("links /dev/char/195:*", links or "none", "/dev/char"))
    return tuple(found)


def _names(nodes: tuple[str, ...]) -> str:
    shown = ", ".join(nodes[:6]) + (f" and {len(nodes) - 6} more" if len(nodes) > 6 else "")
    return shown or "no NVIDIA node"
