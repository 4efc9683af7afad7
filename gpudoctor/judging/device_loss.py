"""Whether a container that can open its GPUs now will lose that right, and what would take it.

NVIDIA's hook opens the device cgroup behind the engine's back. systemd, which manages the scope under its own cgroup
driver, knows only the scope's ``DeviceAllow``: what is not in it goes when systemd writes its rules anew. Measured with
real systemd and engines: systemd 252 does so at every ``daemon-reload``; 257 survives that and does so when a property
of the scope is set, as every update of the container's limits does. NVIDIA's list of affected systems begins with
systemd 239; 219 is not affected.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from gpudoctor.checking.needs import known
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Container, Docker
from gpudoctor.judging.gpu_containers import Route, gpu_minors, route
from gpudoctor.matrices.versions import within

#: systemd releases that write the rules anew at a reload, as far as anybody tells, and the first measured not to.
_RELOAD_SINCE, _RELOAD_UNTIL, _SURVIVES_SINCE = 239, 252, 257
#: runc from the first to before the last forgets devices that have no link under /dev/char.
RUNC_SINCE, RUNC_FIXED = "1.1.3", "1.1.7"
_MAJOR, _CONTROL = 195, 255
_NUMBERS = re.compile(r"/dev/char/(\d{1,4}):(\d{1,7}|\*)")

Cause = Literal["listed", "not-listed", "privileged", "cgroupfs", "no-systemd", "injected-by-engine", "runc-window",
                "behind-the-engine", "not-known"]
_WORDS: dict[Cause, str] = {
    "listed": "its scope lists them",
    "not-listed": "its scope does not list them",
    "privileged": "it is privileged",
    "cgroupfs": "Docker manages cgroups itself",
    "no-systemd": "no device rules without root",
    "injected-by-engine": "the engine itself asked for them",
    "runc-window": "this runc forgets devices without links under /dev/char",
    "behind-the-engine": "the hook opened them behind the engine's back",
    "not-known": "the path is not known",
}


class Prediction(NamedTuple):
    """What takes a container's GPUs: a reload of systemd, an update of the container. None: not known.

    ``read``: its scope's own list was read, so that this is no guess by configuration.
    """

    reload: bool | None
    update: bool | None
    cause: Cause
    read: bool = False

    @property
    def words(self) -> str:
        """Why, for people."""
        return _WORDS[self.cause]

    @property
    def exposed(self) -> bool:
        """True if something is known to take them."""
        return bool(self.reload or self.update)


def prediction(
    docker: Docker, container: Container, toolkit: ContainerToolkit | Unavailable
) -> Prediction:
    """Predict for one running container that has GPUs now."""
    way = route(container, docker, toolkit)
    if container.privileged:
        return Prediction(False, False, "privileged")
    if docker.cgroup_driver != "systemd":
        return _without_systemd(docker, way)
    systemd = _systemd(toolkit)
    if isinstance(container.device_allow, tuple):
        if lists_gpus(container.device_allow, container):
            return Prediction(False, False, "listed", True)
        return Prediction(_reload_takes(systemd), True, "not-listed", True)
    return by_route(docker, toolkit, way)


def by_route(docker: Docker, toolkit: ContainerToolkit | Unavailable, way: Route | None) -> Prediction:
    """Predict for containers of one path whose scope is not there to be read."""
    if docker.cgroup_driver != "systemd":
        return _without_systemd(docker, way)
    systemd = _systemd(toolkit)
    if way in ("cdi", "jit-cdi", "devices"):
        if in_runc_window(docker, toolkit):
            return Prediction(_reload_takes(systemd), True, "runc-window")
        return Prediction(False, False, "injected-by-engine")
    if way in ("hook", "legacy", "csv"):
        return Prediction(_reload_takes(systemd), True, "behind-the-engine")
    return Prediction(None, None, "not-known")


def _without_systemd(docker: Docker, way: Route | None) -> Prediction:
    if docker.cgroup_driver == "none":
        return Prediction(False, False, "no-systemd")
    if isinstance(docker.cgroup_driver, Unavailable):
        return Prediction(None, None, "not-known")
    # NVIDIA warns of updates here, too; those of CPU shares were seen to leave the devices alone.
    return Prediction(False, False if way in ("cdi", "jit-cdi", "devices") else None, "cgroupfs")


def in_runc_window(docker: Docker, toolkit: ContainerToolkit | Unavailable) -> bool:
    """True if this runc drops devices without links under /dev/char, and there are none."""
    version = docker.runc_version
    if not isinstance(version, str) or not within(version.partition("-")[0].partition("+")[0], RUNC_SINCE, RUNC_FIXED):
        return False
    links = toolkit.char_links if isinstance(toolkit, ContainerToolkit) else None
    return isinstance(links, tuple) and not any("195:" in link for link in links)


def lists_gpus(allowed: Sequence[str], container: Container) -> bool:
    """True if a scope's DeviceAllow holds every NVIDIA node that the container has."""
    minors: set[str] = set()
    for entry in allowed:
        name = entry.split()[0] if entry.split() else ""
        if name in ("*", "char-nvidia", "char-nvidia-frontend", "char-*", "char-195"):
            return True
        if (found := _NUMBERS.fullmatch(name)) and int(found[1]) == _MAJOR:
            minors.add(found[2])
        elif name == "/dev/nvidiactl":
            minors.add(str(_CONTROL))
        elif re.fullmatch(r"/dev/nvidia\d{1,5}", name):
            minors.add(name.removeprefix("/dev/nvidia"))
    if "*" in minors:
        return True
    nodes = known(container.device_nodes)
    needed = {str(minor) for minor in gpu_minors(container)}
    if nodes and "nvidiactl" in nodes:
        needed.add(str(_CONTROL))
    return bool(minors) and needed <= minors


def _systemd(toolkit: ContainerToolkit | Unavailable) -> int | None:
    told = toolkit.systemd_version if isinstance(toolkit, ContainerToolkit) else None
    found = re.match(r"\d{1,4}", told) if isinstance(told, str) else None
    return int(found[0]) if found else None


def _reload_takes(systemd: int | None) -> bool | None:
    if systemd is None or _RELOAD_UNTIL < systemd < _SURVIVES_SINCE:
        return None
    return _RELOAD_SINCE <= systemd <= _RELOAD_UNTIL


def reload_since(start: str | None, reloads: Sequence[str] | Unavailable) -> str | None:
    """Return the first time after a container's start at which systemd reloaded, None when none is known."""
    if start is None or isinstance(reloads, Unavailable):
        return None
    # To the second: the engine tells fractions, the journal does not.
    return min((each for each in reloads if each[:19] > start[:19]), default=None)
